/** Quotas of one identity: open acquisitions, and request bytes per second. */
import { SaladError } from '../errors/index.js';

export interface QuotaOptions {
  /** Most open acquisitions. 0 means no limit. */
  readonly maxAcquisitions: number;
  /** 0 means no limit. */
  readonly maxBytesPerSecond: number;
  /**
   * Longest pause of a call's reading, in ms: after a longer one client and server would each consider the other lost. An
   * identity that would need a longer pause cannot open another call.
   */
  readonly maxPauseMs: number;
}

/** Largest burst after a pause, in ms of the rate. */
const BURST_MS = 1000;
/** With this many identities, those without open acquisitions and within their rate are removed. */
const IDENTITIES_MAX = 1024;

interface Usage {
  acquisitions: number;
  /** Theoretical arrival time (generic cell rate algorithm, as in `RateLimiter`): when the next byte is in the rate. */
  arrivalMs: number;
}

export class Quotas {
  private readonly usages = new Map<string, Usage>();

  /** @param now ms, monotonic */
  constructor(
    private readonly options: QuotaOptions,
    private readonly now: () => number = () => performance.now(),
  ) {}

  /** @returns releases the acquisition; idempotent @throws SaladError QUOTA_EXCEEDED */
  openAcquisition(identity: string): () => void {
    const usage = this.usageOf(identity);
    const { maxAcquisitions } = this.options;
    if (maxAcquisitions > 0 && usage.acquisitions >= maxAcquisitions) {
      const message = `${identity} has ${maxAcquisitions} open acquisitions, its limit`;
      throw new SaladError('QUOTA_EXCEEDED', message);
    }
    usage.acquisitions += 1;
    let isOpen = true;
    return () => {
      if (isOpen) usage.acquisitions -= 1;
      isOpen = false;
    };
  }

  /** Counts received bytes. */
  recordBytes(identity: string, bytes: number): void {
    const { maxBytesPerSecond } = this.options;
    if (maxBytesPerSecond === 0) return;
    const usage = this.usageOf(identity);
    usage.arrivalMs = Math.max(usage.arrivalMs, this.now()) + (1000 * bytes) / maxBytesPerSecond;
  }

  /** @throws SaladError QUOTA_EXCEEDED, with a retry delay, where the identity would need a pause above `maxPauseMs` */
  checkByteRate(identity: string): void {
    const excessMs = this.excessMs(identity);
    if (excessMs <= this.options.maxPauseMs) return;
    throw new SaladError(
      'QUOTA_EXCEEDED',
      `${identity} has sent more bytes than its rate allows; try again later`,
      {
        retryAfterMs: Math.ceil(excessMs),
      },
    );
  }

  /** @returns ms to wait before more is read of this identity, at most `maxPauseMs`; the excess above it remains */
  pauseMs(identity: string): number {
    return Math.min(this.excessMs(identity), this.options.maxPauseMs);
  }

  /** Ms after which the identity is within its rate and burst. */
  private excessMs(identity: string): number {
    const usage = this.usages.get(identity);
    return usage === undefined ? 0 : Math.max(0, usage.arrivalMs - this.now() - BURST_MS);
  }

  private usageOf(identity: string): Usage {
    const existing = this.usages.get(identity);
    if (existing) return existing;
    if (this.usages.size >= IDENTITIES_MAX) this.removeUnused();
    const usage = { acquisitions: 0, arrivalMs: 0 };
    this.usages.set(identity, usage);
    return usage;
  }

  private removeUnused(): void {
    const now = this.now();
    for (const [identity, { acquisitions, arrivalMs }] of this.usages) {
      if (acquisitions === 0 && arrivalMs <= now) this.usages.delete(identity);
    }
  }
}
