/** The results of a GPU run: the content of results.json. */

export type Figures = Record<string, unknown>;

export type PartStatus =
  /** Everything was measured. */
  | 'done'
  /** The time was over; the results have what was measured before. */
  | 'incomplete'
  /** It threw an error; the results have what was measured before. */
  | 'failed'
  /** No time was left. */
  | 'skipped';

export interface PartReport {
  status: PartStatus;
  seconds: number;
  /** The longest it might take. */
  readonly limitSeconds: number;
  reason?: string;
  results: Figures;
}

export interface Report {
  /** What is the same for the whole run: machine, commit, settings. */
  readonly run: Figures;
  readonly parts: Record<string, PartReport>;
}
