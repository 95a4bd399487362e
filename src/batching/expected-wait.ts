/**
 * Estimates the wait of a new stream: behind the queued tiles, and behind the tiles that recently admitted streams have
 * still to send. It reads no clock; callers pass the time.
 */
import { TileCounts } from './tile-counts.js';

export interface AdmissionLimits {
  /** A wait up to this time in ms is accepted. */
  readonly maxQueueMs: number;
  /** A wait up to this multiple of the engine time of the stream's own tiles is accepted too. */
  readonly maxQueueRatio: number;
  /** In overload, the longest wait as a multiple of the engine time of a usual acquisition; 0 without this limit. */
  readonly overloadQueueRatio: number;
}

/** Longest accepted wait in ms, in a burst, of a stream whose own tiles take `ownMs` of engine time. */
export function longestWaitMs(
  { maxQueueMs, maxQueueRatio }: Pick<AdmissionLimits, 'maxQueueMs' | 'maxQueueRatio'>,
  ownMs: number,
): number {
  return Math.max(maxQueueMs, maxQueueRatio * ownMs);
}

/** The tiles that an admitted stream has still to send. */
export interface Announcement {
  readonly peer: string;
  /** Rank of the priority class; 0 is the most urgent. */
  readonly rank: number;
  /** Number of tiles still to come. Only `AnnouncedTiles` changes it. */
  left: number;
}

/**
 * Counts the announced tiles that have not arrived. Without this count all streams of a burst would be admitted before
 * the first tile is queued. Announcements older than `horizonMs` are not counted, because a client that sends at the
 * pace of a detector sends its tiles only seconds later.
 */
export class AnnouncedTiles {
  /** Sum of `left` over the recent announcements. */
  readonly tiles: TileCounts;
  /** Recent announcements and their times, oldest first. */
  private readonly announcedAt = new Map<Announcement, number>();

  /** @param ranks number of priority classes */
  constructor(
    ranks: number,
    private readonly horizonMs: number,
  ) {
    this.tiles = new TileCounts(ranks);
  }

  add(announcement: Announcement, now: number): void {
    this.expire(now);
    this.announcedAt.set(announcement, now);
    this.tiles.add(announcement.rank, announcement.peer, announcement.left);
  }

  /** Counts tiles that have arrived. */
  arrived(announcement: Announcement, tiles: number): void {
    const change = Math.min(tiles, announcement.left);
    announcement.left -= change;
    if (change > 0) this.tiles.add(announcement.rank, announcement.peer, -change);
    if (announcement.left === 0) this.announcedAt.delete(announcement);
  }

  /** Removes the tiles that will not arrive. Idempotent. */
  withdraw(announcement: Announcement): void {
    this.arrived(announcement, announcement.left);
  }

  /** Removes the announcements that are older than the horizon. */
  expire(now: number): void {
    for (const [announcement, time] of this.announcedAt) {
      if (now - time < this.horizonMs) return;
      this.withdraw(announcement);
    }
  }
}

/** Tiles that may be served before a new tile. */
export interface WaitingTiles {
  readonly queued: TileCounts;
  /** AnnouncedTiles, not queued. */
  readonly announced: TileCounts;
  /** Largest share of the engine time of urgent tiles while others wait; 1 without a limit. */
  readonly urgentShare: number;
}

/**
 * Counts the tiles that are served before a new tile of this class and peer: all tiles of more urgent classes, and of
 * its own class those that are served in turn until the tiles of its own peer are served.
 */
export function tilesAhead(
  { queued, announced, urgentShare }: WaitingTiles,
  rank: number,
  peer: string,
): number {
  const all = (index: number) => queued.total(index) + announced.total(index);
  const own = queued.of(rank, peer) + announced.of(rank, peer);
  const others = Math.max(othersIn(queued, rank, peer), othersIn(announced, rank, peer));
  // One tile of every other peer is served before each tile of this peer.
  const inTurns = own * (1 + others) + others;
  let ahead = Math.min(all(rank), inTurns);
  if (rank === 0) return ahead;
  for (let index = 1; index < rank; index++) ahead += all(index);
  const withAllUrgent = ahead + all(0);
  return urgentShare < 1 ? Math.min(withAllUrgent, ahead / (1 - urgentShare)) : withAllUrgent;
}

/** Counts all tiles of this class and of more urgent classes. */
export function tilesUpTo({ queued, announced }: WaitingTiles, rank: number): number {
  let tiles = 0;
  for (let index = 0; index <= rank; index++) tiles += queued.total(index) + announced.total(index);
  return tiles;
}

function othersIn(counts: TileCounts, rank: number, peer: string): number {
  return counts.peers(rank) - (counts.of(rank, peer) > 0 ? 1 : 0);
}
