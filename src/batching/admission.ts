/**
 * Who is let in: a new stream waits behind the tiles that are queued and behind those that streams let in a moment
 * ago are still sending. Pure: every moment is handed in.
 */

import { TileCounts } from './tile-counts.js';

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
  readonly peer: string;
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
  /** The sum of what is left of `young`. */
  readonly tiles: TileCounts;
  /** When each was made, oldest first. */
  private readonly young = new Map<Announcement, number>();

  /** @param ranks number of priority classes */
  constructor(
    ranks: number,
    private readonly horizonMs: number,
  ) {
    this.tiles = new TileCounts(ranks);
  }

  add(announcement: Announcement, now: number): void {
    this.forget(now);
    this.young.set(announcement, now);
    this.tiles.add(announcement.rank, announcement.peer, announcement.left);
  }

  /** So many of them came. */
  arrived(announcement: Announcement, tiles: number): void {
    const change = Math.min(tiles, announcement.left);
    announcement.left -= change;
    // One that is forgotten has nothing left to be counted.
    if (change > 0) this.tiles.add(announcement.rank, announcement.peer, -change);
    if (announcement.left === 0) this.young.delete(announcement);
  }

  /** The rest will not come. Idempotent. */
  withdraw(announcement: Announcement): void {
    this.arrived(announcement, announcement.left);
  }

  /** Announcements older than the horizon count no more. */
  forget(now: number): void {
    for (const [announcement, madeAt] of this.young) {
      if (now - madeAt < this.horizonMs) return;
      this.withdraw(announcement);
    }
  }
}

/** What a new tile would wait for. */
export interface Ahead {
  readonly queued: TileCounts;
  /** On their way. */
  readonly announced: TileCounts;
  /** Of engine time that urgent tiles get at most while others wait; 1 where there is no bound. */
  readonly statShare: number;
}

/**
 * Tiles that are served before a new one of this class and peer: those of more urgent classes, and of its own class no
 * more than come to all peers while its own peer's are served.
 */
export function tilesAhead({ queued, announced, statShare }: Ahead, rank: number, peer: string): number {
  const all = (index: number) => queued.total(index) + announced.total(index);
  const own = queued.of(rank, peer) + announced.of(rank, peer);
  const others = Math.max(othersIn(queued, rank, peer), othersIn(announced, rank, peer));
  // One of each peer goes before the first.
  const inTurns = own * (1 + others) + others;
  let ahead = Math.min(all(rank), inTurns);
  if (rank === 0) return ahead;
  for (let index = 1; index < rank; index++) ahead += all(index);
  const withAllUrgent = ahead + all(0);
  return statShare < 1 ? Math.min(withAllUrgent, ahead / (1 - statShare)) : withAllUrgent;
}

function othersIn(counts: TileCounts, rank: number, peer: string): number {
  return counts.peers(rank) - (counts.of(rank, peer) > 0 ? 1 : 0);
}
