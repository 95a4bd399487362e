/** How many acquisitions, and how many bytes of them, may be open at once. */
import { SaladError } from '../errors/index.js';

export interface BudgetLimits {
  readonly maxAcquisitions: number;
  readonly maxBytes: number;
  /** What a refused client is told to wait. */
  readonly retryAfterMs: number;
}

/** Idempotent. */
export type Release = () => void;

/**
 * Admission: an acquisition reserves all it may ever hold before its first pixel, or is refused at once. So no
 * admitted acquisition can run out of room, and memory is bounded by construction.
 */
export class AcquisitionBudget {
  private openCount = 0;
  private reservedBytes = 0;

  constructor(private readonly limits: BudgetLimits) {}

  get open(): number {
    return this.openCount;
  }

  get bytes(): number {
    return this.reservedBytes;
  }

  /** For the first look, before anything of a call is read. @throws SaladError OVERLOADED */
  refuseWhenFull(): void {
    const { maxAcquisitions, retryAfterMs } = this.limits;
    if (this.openCount < maxAcquisitions) return;
    throw new SaladError('OVERLOADED', `${maxAcquisitions} acquisitions are open already`, { retryAfterMs });
  }

  /** One acquisition and its bytes. @throws SaladError OVERLOADED with a retry delay. */
  admit(bytes: number): Release {
    this.refuseWhenFull();
    const releaseBytes = this.reserveBytes(bytes);
    this.openCount += 1;
    return once(() => {
      this.openCount -= 1;
      releaseBytes();
    });
  }

  /** @throws SaladError OVERLOADED with a retry delay. */
  reserveBytes(bytes: number): Release {
    const { maxBytes, retryAfterMs } = this.limits;
    if (this.reservedBytes + bytes > maxBytes) {
      throw new SaladError('OVERLOADED', `no memory left for an acquisition of ${bytes} bytes`, {
        retryAfterMs,
      });
    }
    this.reservedBytes += bytes;
    return once(() => {
      this.reservedBytes -= bytes;
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
