/**
 * Distinguishes overload from a burst. After a burst the queue becomes short again within about a second; where it does
 * not, more work arrives than the engines can do, and a longer queue would only make every answer later. The idea is that
 * of CoDel (RFC 8289): judge a queue by whether it was short lately, not by its length.
 */

/** The queue was short within this time: a burst. In ms. */
const BURST_MS = 1000;

/** Decay of the sums at each admitted acquisition: about the last 32 count. */
const DECAY = 1 - 1 / 32;

export class OverloadDetector {
  /** Decaying sums over the admitted acquisitions. */
  private tiles = 0;
  private squares = 0;
  /** When the queue of each priority class was last short, in ms. */
  private readonly shortAt: number[];

  /**
   * @param ranks number of priority classes; rank 0 is the most urgent
   * @param ratio tiles that may wait in overload, in multiples of a usual acquisition; 0 without limit
   */
  constructor(
    ranks: number,
    private readonly ratio: number,
  ) {
    this.shortAt = new Array<number>(ranks).fill(Number.NEGATIVE_INFINITY);
  }

  /** Counts an admitted acquisition. @param tiles at least 0 */
  admitted(tiles: number): void {
    this.tiles = DECAY * this.tiles + tiles;
    this.squares = DECAY * this.squares + tiles * tiles;
  }

  /**
   * The most tiles that a new acquisition may find before it; infinite while the queue is short or a burst.
   * @param queued tiles of its class and of more urgent classes, queued or announced
   * @param own its tiles
   * @param now in ms, never decreasing
   */
  longestQueue(rank: number, queued: number, own: number, now: number): number {
    if (this.ratio === 0) return Number.POSITIVE_INFINITY;
    const usual = Math.max(own, this.usualTiles);
    // Far below the limit, so that the queue of an overloaded server does not become short by chance.
    if (queued <= usual) this.shortAt[rank] = now;
    return now - this.shortAt[rank]! < BURST_MS ? Number.POSITIVE_INFINITY : this.ratio * usual;
  }

  /** Mean size of an acquisition, weighted by size, so that small ones between large ones do not count as usual. */
  private get usualTiles(): number {
    return this.tiles === 0 ? 0 : this.squares / this.tiles;
  }
}
