/**
 * Who is let in: a new stream waits behind the tiles that are queued and behind those that streams let in a moment
 * ago are still sending. Pure: every moment is handed in.
 */

export interface AdmissionLimits {
  /** A wait of this many ms is always acceptable. */
  readonly maxQueueMs: number;
  /** So is one of this many times what the stream's own tiles take. */
  readonly maxQueueRatio: number;
}

/** Longest acceptable wait, in ms, of a stream whose own tiles take `ownMs`: large work may wait longer than small. */
export function longestWaitMs({ maxQueueMs, maxQueueRatio }: AdmissionLimits, ownMs: number): number {
  return Math.max(maxQueueMs, maxQueueRatio * ownMs);
}

/** The tiles a stream will send. */
export interface Announcement {
  /** Of its priority class, 0 the most urgent. */
  readonly rank: number;
  /** Not there yet; only `Announced` changes it. */
  left: number;
}

/**
 * Tiles announced and not there yet. Without them a burst would be let in whole, before its first tile is queued. A
 * client that sends at the pace of a detector has announced what it will not send for seconds: after `horizonMs`
 * only what is queued counts.
 */
export class Announced {
  /** By rank: the sum of what is left of `young`. */
  private readonly tiles: number[];
  /** When each was made, oldest first. */
  private readonly young = new Map<Announcement, number>();

  /** @param ranks number of priority classes */
  constructor(
    ranks: number,
    private readonly horizonMs: number,
  ) {
    this.tiles = new Array<number>(ranks).fill(0);
  }

  add(announcement: Announcement, now: number): void {
    this.forget(now);
    this.young.set(announcement, now);
    this.tiles[announcement.rank] = this.tiles[announcement.rank]! + announcement.left;
  }

  /** So many of them came. */
  arrived(announcement: Announcement, tiles: number): void {
    const change = Math.min(tiles, announcement.left);
    announcement.left -= change;
    this.tiles[announcement.rank] = this.tiles[announcement.rank]! - change;
    if (announcement.left === 0) this.young.delete(announcement);
  }

  /** The rest will not come. Idempotent. */
  withdraw(announcement: Announcement): void {
    this.arrived(announcement, announcement.left);
  }

  /** Tiles still to come that go before a new tile of this rank, or share their turn with it. */
  before(rank: number, now: number): number {
    this.forget(now);
    return this.tiles.reduce((sum, count, index) => (index <= rank ? sum + count : sum), 0);
  }

  private forget(now: number): void {
    for (const [announcement, madeAt] of this.young) {
      if (now - madeAt < this.horizonMs) return;
      this.withdraw(announcement);
    }
  }
}
