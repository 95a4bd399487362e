/** Finds runs that never end. */

/** A pause of the whole process (a debugger, a suspended machine) counts as one tick, however long it was. */
const TICKS = 4;
/** A batch may take this many times what warm-up measured, on top of the limit. */
const TIMES_MEASURED = 20;

interface Watched {
  ticksLeft: number;
  readonly onHung: () => void;
}

/** Watches any number of runs with one timer: they start and end too often for one each. */
export class Watchdog {
  private readonly watched = new Set<Watched>();
  private readonly tickMs: number;
  private readonly timer: NodeJS.Timeout;

  constructor(limitMs: number) {
    this.tickMs = limitMs / TICKS;
    this.timer = setInterval(() => this.tick(), this.tickMs);
    this.timer.unref();
  }

  /**
   * @param measuredMs what the run should take
   * @returns ends the watch
   */
  watch(measuredMs: number, onHung: () => void): () => void {
    const entry = { ticksLeft: TICKS + Math.ceil((TIMES_MEASURED * measuredMs) / this.tickMs), onHung };
    this.watched.add(entry);
    return () => this.watched.delete(entry);
  }

  stop(): void {
    clearInterval(this.timer);
    this.watched.clear();
  }

  private tick(): void {
    for (const entry of [...this.watched]) {
      entry.ticksLeft -= 1;
      if (entry.ticksLeft < 0 && this.watched.delete(entry)) entry.onHung();
    }
  }
}
