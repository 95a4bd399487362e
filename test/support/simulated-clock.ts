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

  /** A timer that can start again from zero. */
  readonly startTimer = (callback: () => void, ms: number) => {
    let cancel = this.setTimer(callback, ms);
    return {
      refresh: () => {
        cancel();
        cancel = this.setTimer(callback, ms);
      },
      stop: () => cancel(),
    };
  };

  /** Calls the function again and again until the returned function is called. */
  readonly repeat = (callback: () => void, everyMs: number): (() => void) => {
    const timer = this.startTimer(() => {
      timer.refresh();
      callback();
    }, everyMs);
    return timer.stop;
  };

  /** Moves on to the next timer and runs it. */
  next(): void {
    const [run, at] = [...this.timers].reduce((first, each) => (each[1] < first[1] ? each : first));
    this.timers.delete(run);
    this.now = Math.max(this.now, at);
    run();
  }

  /** Moves on and runs every timer that is due meanwhile. */
  advance(ms: number): void {
    const end = this.now + ms;
    while (Math.min(...this.timers.values()) <= end) this.next();
    this.now = end;
  }
}
