/** What every suite is told. */
export interface BenchOptions {
  /** Fewer and shorter repeats: shows that the bench works, not what the machine can do. */
  readonly quick: boolean;
}
