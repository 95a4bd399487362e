/**
 * Distinguishes overload from a burst. After a burst the queue becomes short again within about a second; where it does
 * not, more work arrives than the engines can do, and a longer queue would only make every answer later. The idea is that
 * of CoDel (RFC 8289): judge a queue by whether it was short lately, not by its length.
 */

/** The queue was short within this time: a burst. In ms. */
const BURST_MS = 1000;

/**
 * A wait up to this is never refused, in ms. A refused client comes back later than that (`retryDelayMs`), and the engine
 * of a fast machine would find too few tiles: those of an admitted acquisition need time to arrive.
 */
const SOON_MS = 100;

/** Decay of the sums at each admitted acquisition: about the last 32 count. */
const DECAY = 1 - 1 / 32;

export interface NewAcquisition {
  /** Of its priority class. */
  readonly rank: number;
  /** Tiles of its class and of more urgent classes, queued or announced. */
  readonly queued: number;
  /** Its tiles. */
  readonly own: number;
  /** Engine time of a tile; 0 while it is unknown. */
  readonly msPerTile: number;
  /** In ms, never decreasing. */
  readonly now: number;
}

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

  /** The most tiles that a new acquisition may find before it; infinite while the queue is short or a burst. */
  longestQueue({ rank, queued, own, msPerTile, now }: NewAcquisition): number {
    if (this.ratio === 0) return Number.POSITIVE_INFINITY;
    const longest = Math.max(this.ratio * Math.max(own, this.usualTiles), SOON_MS / msPerTile);
    // Far below the limit, so that the queue of an overloaded server does not become short by chance.
    if (queued <= longest / this.ratio) this.shortAt[rank] = now;
    return now - this.shortAt[rank]! < BURST_MS ? Number.POSITIVE_INFINITY : longest;
  }

  /** Mean size of an acquisition, weighted by size, so that small ones between large ones do not count as usual. */
  private get usualTiles(): number {
    return this.tiles === 0 ? 0 : this.squares / this.tiles;
  }
}
