/** How many acquisitions, and how many bytes of them, may be open at once. */
import { SaladError } from '../errors/index.js';
import { Shares } from './shares.js';

export interface BudgetLimits {
  readonly maxAcquisitions: number;
  readonly maxBytes: number;
  /** What a refused client is told to wait. */
  readonly retryAfterMs: number;
  /** See `Shares`. */
  readonly peerShareRatio: number;
}

/** Idempotent. */
export type Release = () => void;

/** What memory is reserved for: acquisitions, or files being decoded, which may be larger by far. */
export type MemoryUse = 'acquisition' | 'decoding';

/** Largest part of the memory for one use; the rest is always left for the other. */
const USE_SHARE = 3 / 4;

/**
 * Admission: an acquisition reserves all memory it may ever hold before its first pixel, or is refused at once, so that
 * no admitted acquisition runs out of memory. Neither one peer nor one kind of use can take all memory.
 */
export class AcquisitionBudget {
  private openCount = 0;
  /** Of all uses, by peer. */
  private readonly peers: Shares;
  private readonly reserved: Record<MemoryUse, number> = { acquisition: 0, decoding: 0 };

  constructor(private readonly limits: BudgetLimits) {
    this.peers = new Shares(limits.maxBytes, limits.peerShareRatio);
  }

  get open(): number {
    return this.openCount;
  }

  get bytes(): number {
    return this.peers.taken;
  }

  /** Most bytes that one use may ever have. */
  get maxBytesOfUse(): number {
    return Math.floor(this.limits.maxBytes * USE_SHARE);
  }

  /** For the first look, before anything of a call is read. @throws SaladError OVERLOADED */
  refuseWhenFull(): void {
    const { maxAcquisitions, retryAfterMs } = this.limits;
    if (this.openCount < maxAcquisitions) return;
    throw new SaladError('OVERLOADED', `${maxAcquisitions} acquisitions are open already`, { retryAfterMs });
  }

  /** One acquisition and its bytes. @throws SaladError as `reserveBytes` */
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
   * @throws SaladError OVERLOADED or QUOTA_EXCEEDED with a retry delay; IMAGE_TOO_LARGE where the request exceeds the limit for any image
   */
  reserveBytes(peer: string, bytes: number, use: MemoryUse): Release {
    const { retryAfterMs } = this.limits;
    if (bytes > this.maxBytesOfUse) {
      const why = `the image needs ${bytes} bytes of memory; the server allows ${this.maxBytesOfUse} for one image`;
      throw new SaladError('IMAGE_TOO_LARGE', why);
    }
    if (!this.peers.hasRoom(bytes) || this.reserved[use] + bytes > this.maxBytesOfUse) {
      throw new SaladError('OVERLOADED', `no memory left for ${bytes} bytes`, { retryAfterMs });
    }
    if (!this.peers.take(peer, bytes)) {
      const why = `${peer} has ${this.peers.held(peer)} bytes of memory reserved, and may not reserve more while others may need it`;
      throw new SaladError('QUOTA_EXCEEDED', why, { retryAfterMs });
    }
    this.reserved[use] += bytes;
    return once(() => {
      this.peers.give(peer, bytes);
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
