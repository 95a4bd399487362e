/** How much of the past is kept at each batch: about the last thirty-two count. */
const DECAY = 1 - 1 / 32;

/**
 * How fast tiles leave a queue that never runs dry, over all slots together. Only the time between two batches
 * with tiles waiting all the while says so: otherwise it was the clients that were slow. It is the ratio of two
 * decaying sums, not a mean of ratios: a pause before a batch of one tile must not weigh as thirty-two.
 */
export class Pace {
  private spentMs = 0;
  private tiles = 0;
  private lastFinishedAt: number | undefined;

  /** Milliseconds from one tile to the next; 0 while unknown. */
  get msPerTile(): number {
    return this.tiles === 0 ? 0 : this.spentMs / this.tiles;
  }

  finished(tiles: number, now: number): void {
    if (this.lastFinishedAt !== undefined) {
      this.spentMs = DECAY * this.spentMs + (now - this.lastFinishedAt);
      this.tiles = DECAY * this.tiles + tiles;
    }
    this.lastFinishedAt = now;
  }

  /** Nothing waits: the time until the next batch says nothing. */
  idle(): void {
    this.lastFinishedAt = undefined;
  }
}
