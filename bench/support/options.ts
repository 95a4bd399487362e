/** Options of every suite. */
export interface BenchOptions {
  /** Fewer and shorter repeats, to show that a suite works; the figures mean nothing. */
  readonly quick: boolean;
}
