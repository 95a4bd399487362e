/** What every command of the program is given. */
export interface ProgramContext {
  /** Where configuration keys are read from, under their SALAD_ names. */
  readonly environment: Readonly<Record<string, string | undefined>>;
}
