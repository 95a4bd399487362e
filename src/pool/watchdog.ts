/** Finds runs that do not end. */

/**
 * Ticks of one limit. A pause of the whole process (a debugger, a suspended machine) of any length counts as one tick.
 */
const TICKS_PER_LIMIT = 4;
/** A batch may take the limit plus this many times its expected time. */
const EXPECTED_TIME_FACTOR = 20;

/** Calls the function again and again until the returned function is called. */
export type Repeat = (callback: () => void, everyMs: number) => () => void;

const repeatWithNode: Repeat = (callback, everyMs) => {
  const timer = setInterval(callback, everyMs).unref();
  return () => clearInterval(timer);
};

interface Watched {
  ticksLeft: number;
  readonly onHung: () => void;
  readonly isPaused: () => boolean;
}

/** Watches any number of runs with one timer: runs start and end too often for a timer each. */
export class Watchdog {
  private readonly watched = new Set<Watched>();
  private readonly tickMs: number;
  private readonly stopTicks: () => void;

  /** @param repeat replaceable, for tests @default a timer of Node */
  constructor(limitMs: number, repeat: Repeat = repeatWithNode) {
    this.tickMs = limitMs / TICKS_PER_LIMIT;
    this.stopTicks = repeat(() => this.tick(), this.tickMs);
  }

  /**
   * @param expectedMs time of the run as measured at warm-up
   * @param isPaused while it returns true, time does not count
   * @returns a function that ends the watch
   */
  watch(expectedMs: number, onHung: () => void, isPaused: () => boolean = () => false): () => void {
    const extraTicks = Math.ceil((EXPECTED_TIME_FACTOR * expectedMs) / this.tickMs);
    const entry = { ticksLeft: TICKS_PER_LIMIT + extraTicks, onHung, isPaused };
    this.watched.add(entry);
    return () => this.watched.delete(entry);
  }

  stop(): void {
    this.stopTicks();
    this.watched.clear();
  }

  private tick(): void {
    for (const entry of [...this.watched]) {
      if (entry.isPaused()) continue;
      entry.ticksLeft -= 1;
      if (entry.ticksLeft < 0 && this.watched.delete(entry)) entry.onHung();
    }
  }
}
