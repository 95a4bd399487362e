/** Finds runs that do not end. */
import { type StartTimer, startBackgroundTimer, type Timer } from '../util/timer.js';

/**
 * Ticks of one limit. A pause of the whole process (a debugger, a suspended machine) of any length counts as one tick.
 */
const TICKS_PER_LIMIT = 4;
/** A batch may take the limit plus this many times its expected time. */
const EXPECTED_TIME_FACTOR = 20;

interface Watched {
  ticksLeft: number;
  readonly onHung: () => void;
  readonly isPaused: () => boolean;
}

/** Watches any number of runs with one timer: runs start and end too often for a timer each. */
export class Watchdog {
  private readonly watched = new Set<Watched>();
  private readonly tickMs: number;
  private readonly timer: Timer;

  /** @param startTimer replaceable, for tests @default the timers of Node */
  constructor(limitMs: number, startTimer: StartTimer = startBackgroundTimer) {
    this.tickMs = limitMs / TICKS_PER_LIMIT;
    this.timer = startTimer(() => this.tick(), this.tickMs);
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
    this.timer.stop();
    this.watched.clear();
  }

  private tick(): void {
    // First, because `onHung` may stop this.
    this.timer.refresh();
    for (const entry of [...this.watched]) {
      if (entry.isPaused()) continue;
      entry.ticksLeft -= 1;
      if (entry.ticksLeft < 0 && this.watched.delete(entry)) entry.onHung();
    }
  }
}
