/** Limits the number of open acquisitions, and the memory that they reserve. */
import { SaladError } from '../errors/index.js';
import { Shares } from './shares.js';

export interface BudgetLimits {
  readonly maxAcquisitions: number;
  readonly maxBytes: number;
  /** Retry delay sent with a refusal. */
  readonly retryAfterMs: number;
  /** See `Shares`. */
  readonly peerShareRatio: number;
}

/** Idempotent. */
export type Release = () => void;

/** Purpose of reserved memory: acquisitions, or the decoding of files, which may need far more. */
export type MemoryUse = 'acquisition' | 'decoding';

/** Largest share of the memory for one use; the rest is reserved for the other. */
const USE_SHARE = 3 / 4;

/**
 * Admission control by memory. Before its first pixel an acquisition reserves the most memory that it may need, or is
 * refused, so that no admitted acquisition runs out of memory. Neither one peer nor one use can reserve all memory.
 */
export class AcquisitionBudget {
  private openCount = 0;
  /** Bytes by peer, for all uses together. */
  private readonly peers: Shares;
  private readonly reserved: Record<MemoryUse, number> = { acquisition: 0, decoding: 0 };

  constructor(private readonly limits: BudgetLimits) {
    this.peers = new Shares(limits.maxBytes, limits.peerShareRatio);
  }

  get open(): number {
    return this.openCount;
  }

  get bytes(): number {
    return this.peers.used;
  }

  /** Most bytes that one use may reserve. */
  get maxBytesOfUse(): number {
    return Math.floor(this.limits.maxBytes * USE_SHARE);
  }

  /** Checks the number of acquisitions before a call's messages are read. @throws SaladError OVERLOADED */
  refuseWhenFull(): void {
    const { maxAcquisitions, retryAfterMs } = this.limits;
    if (this.openCount < maxAcquisitions) return;
    throw new SaladError('OVERLOADED', `${maxAcquisitions} acquisitions are open already; try again later`, {
      retryAfterMs,
    });
  }

  /** Opens an acquisition and reserves its memory. @throws SaladError as `refuseWhenFull` and `reserveBytes` */
  admit(peer: string, bytes: number): Release {
    this.refuseWhenFull();
    const releaseBytes = this.reserveBytes(peer, bytes, 'acquisition');
    this.openCount += 1;
    return once(() => {
      this.openCount -= 1;
      releaseBytes();
    });
  }

  /**
   * Reserves memory until the returned function is called.
   * @throws SaladError OVERLOADED or QUOTA_EXCEEDED with a retry delay; IMAGE_TOO_LARGE where the image needs more than one
   *   use may reserve
   */
  reserveBytes(peer: string, bytes: number, use: MemoryUse): Release {
    const { retryAfterMs } = this.limits;
    if (bytes > this.maxBytesOfUse) {
      const why = `the image needs ${bytes} bytes of memory; the server allows ${this.maxBytesOfUse} for one image (maxAcquisitionBytes)`;
      throw new SaladError('IMAGE_TOO_LARGE', why);
    }
    if (!this.peers.hasRoom(bytes) || this.reserved[use] + bytes > this.maxBytesOfUse) {
      throw new SaladError(
        'OVERLOADED',
        `no memory is left for the ${bytes} bytes of this image; try again later`,
        { retryAfterMs },
      );
    }
    if (!this.peers.acquire(peer, bytes)) {
      const why = `${peer} has ${this.peers.held(peer)} bytes of memory reserved, its share of the server's; try again when its other images are done`;
      throw new SaladError('QUOTA_EXCEEDED', why, { retryAfterMs });
    }
    this.reserved[use] += bytes;
    return once(() => {
      this.peers.release(peer, bytes);
      this.reserved[use] -= bytes;
    });
  }
}

function once(work: () => void): Release {
  let done = false;
  return () => {
    if (done) return;
    done = true;
    work();
  };
}
