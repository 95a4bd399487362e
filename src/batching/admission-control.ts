/** Refuses streams whose tiles would wait too long for an engine. */
import { SaladError } from '../errors/index.js';
import {
  type AdmissionLimits,
  AnnouncedTiles,
  type Announcement,
  longestWaitMs,
  tilesAhead,
  tilesUpTo,
  type WaitingTiles,
} from './expected-wait.js';
import { OverloadDetector } from './overload.js';
import { PRIORITY_CLASSES, type PriorityClass } from './policy.js';
import type { ThroughputEstimate } from './throughput-estimate.js';
import type { TileCounts } from './tile-counts.js';

/** How long announced tiles are counted: a fast client on a busy machine sends a whole image in this time. */
const ANNOUNCED_FOR_MS = 250;

/** The tiles of a stream before any has arrived. */
export function announcementOf(priority: PriorityClass, capacity: number, peer: string): Announcement {
  return { peer, rank: PRIORITY_CLASSES.indexOf(priority), left: capacity };
}

export interface AdmissionControlOptions {
  /** Undefined: no stream is refused. */
  readonly limits: AdmissionLimits | undefined;
  /** The queued tiles. */
  readonly queued: TileCounts;
  readonly throughput: ThroughputEstimate;
  /** Largest share of the engine time of urgent tiles while others wait, in (0, 1]. */
  readonly urgentShare: number;
  /** Monotonic, in ms. */
  readonly now: () => number;
}

export class AdmissionControl {
  private readonly announced = new AnnouncedTiles(PRIORITY_CLASSES.length, ANNOUNCED_FOR_MS);

  private readonly overload: OverloadDetector;

  constructor(private readonly options: AdmissionControlOptions) {
    this.overload = new OverloadDetector(PRIORITY_CLASSES.length, options.limits?.overloadQueueRatio ?? 0);
  }

  /** Expected wait of a new tile of this class and peer, in ms; 0 while the throughput is unknown. */
  expectedQueueMs(priority: PriorityClass, peer: string): number {
    const rank = PRIORITY_CLASSES.indexOf(priority);
    return tilesAhead(this.waiting(), rank, peer) * this.options.throughput.msPerTile;
  }

  /**
   * @param capacity number of tiles of the stream
   * @throws SaladError OVERLOADED where its tiles would wait too long
   */
  refuseWhenSlow(priority: PriorityClass, capacity: number, peer: string): void {
    const { limits, now } = this.options;
    const { msPerTile } = this.options.throughput;
    if (limits === undefined) return;
    const rank = PRIORITY_CLASSES.indexOf(priority);
    const waiting = this.waiting();
    const ahead = tilesAhead(waiting, rank, peer);
    const expectedMs = ahead * msPerTile;
    const queued = tilesUpTo(waiting, rank);
    const longest = this.overload.longestQueue({ rank, queued, own: capacity, msPerTile, now: now() });
    // While the throughput is unknown nothing is refused.
    if (expectedMs > longestWaitMs(limits, capacity * msPerTile) || ahead > longest) {
      const why = `tiles would wait ${Math.round(expectedMs)} ms for an engine; try again later`;
      throw new SaladError('OVERLOADED', why);
    }
  }

  private waiting(): WaitingTiles {
    const { queued, urgentShare, now } = this.options;
    this.announced.expire(now());
    return { queued, announced: this.announced.tiles, urgentShare };
  }

  /** Counts the tiles of an admitted stream until they arrive or are withdrawn. */
  announce(announcement: Announcement): void {
    this.announced.add(announcement, this.options.now());
    this.overload.admitted(announcement.left);
  }

  arrived(announcement: Announcement, tiles: number): void {
    this.announced.arrived(announcement, tiles);
  }

  withdraw(announcement: Announcement): void {
    this.announced.withdraw(announcement);
  }
}
