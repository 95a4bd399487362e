/** Weight of the newest batch in the average: about the last sixteen count. */
const WEIGHT = 1 / 16;

/**
 * How fast tiles leave a queue that never runs dry, over all slots together. Only the time between two batches
 * with tiles waiting all the while says so: otherwise it was the clients that were slow.
 */
export class Pace {
  private average: number | undefined;
  private lastFinishedAt: number | undefined;

  /** Milliseconds from one tile to the next; 0 while unknown. */
  get msPerTile(): number {
    return this.average ?? 0;
  }

  finished(tiles: number, now: number): void {
    if (this.lastFinishedAt !== undefined) {
      const sample = (now - this.lastFinishedAt) / tiles;
      this.average = this.average === undefined ? sample : this.average + WEIGHT * (sample - this.average);
    }
    this.lastFinishedAt = now;
  }

  /** Nothing waits: the time until the next batch says nothing. */
  idle(): void {
    this.lastFinishedAt = undefined;
  }
}
