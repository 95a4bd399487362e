/** Decay of the sums at each batch: about the last 32 batches count. */
const DECAY = 1 - 1 / 32;

/**
 * Estimates the throughput of all slots together while tiles wait. It uses only the times between two batches during
 * which the queue was never empty, because otherwise the clients limit the throughput. The estimate is a ratio of two
 * decaying sums, not a mean of ratios, so that each batch weighs by its number of tiles.
 */
export class ThroughputEstimate {
  private spentMs = 0;
  private tiles = 0;
  private lastFinishedAt: number | undefined;

  /** Time per tile in ms; 0 while unknown. */
  get msPerTile(): number {
    return this.tiles === 0 ? 0 : this.spentMs / this.tiles;
  }

  /** Counts a finished batch. @param now in ms */
  finished(tiles: number, now: number): void {
    if (this.lastFinishedAt !== undefined) {
      this.spentMs = DECAY * this.spentMs + (now - this.lastFinishedAt);
      this.tiles = DECAY * this.tiles + tiles;
    }
    this.lastFinishedAt = now;
  }

  /** Ends the current measurement, because the queue is empty: the time until the next batch is not counted. */
  idle(): void {
    this.lastFinishedAt = undefined;
  }
}
