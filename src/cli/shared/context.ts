/** Input that every command of the program receives. */
export interface ProgramContext {
  /** Environment variables; configuration keys are read under their SALAD_ names. */
  readonly environment: Readonly<Record<string, string | undefined>>;
}
