/** A clock that a test moves on, with its timers. */
import type { StartTimer } from '../../src/util/timer.js';

export class SimulatedClock {
  private readonly timers = new Map<() => void, number>();

  /** @param now in ms since 1970 */
  constructor(public now: number) {}

  /** Timers that have not run yet. */
  get pending(): number {
    return this.timers.size;
  }

  readonly startTimer: StartTimer = (callback, ms) => {
    // A function of its own for every timer.
    const run = () => callback();
    const stop = () => void this.timers.delete(run);
    const refresh = () => {
      // Of timers for the same time, the one that started first runs first.
      stop();
      this.timers.set(run, this.now + ms);
    };
    refresh();
    return { refresh, stop };
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
