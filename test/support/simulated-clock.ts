/** A clock that a test moves on, with its timers. */
export class SimulatedClock {
  private readonly timers = new Map<() => void, number>();

  /** @param now in ms since 1970 */
  constructor(public now: number) {}

  /** Timers that have not run yet. */
  get pending(): number {
    return this.timers.size;
  }

  readonly setTimer = (callback: () => void, ms: number): (() => void) => {
    // A function of its own for every timer.
    const run = () => callback();
    this.timers.set(run, this.now + ms);
    return () => this.timers.delete(run);
  };

  /** Moves on to the next timer and runs it. */
  next(): void {
    const [run, at] = [...this.timers].reduce((first, each) => (each[1] < first[1] ? each : first));
    this.timers.delete(run);
    this.now = Math.max(this.now, at);
    run();
  }
}
