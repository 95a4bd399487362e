/** What one identity may take of the server: acquisitions at once, and request bytes per second. */
import { SaladError } from '../errors/index.js';

export interface QuotaOptions {
  /** 0 means no limit, here and below. */
  readonly maxAcquisitions: number;
  readonly maxBytesPerSecond: number;
  /** Past this a call is not paused but the next one refused: neither side must take a pause for a dead peer. */
  readonly longestPauseMs: number;
}

/** What may be sent at once after a silence, in ms of the rate. */
const BURST_MS = 1000;
/** Identities that take nothing are forgotten when there are this many. */
const REMEMBERED = 1024;

interface Usage {
  acquisitions: number;
  /** When what was taken so far is paid off at the rate, on the monotonic clock. */
  paidAt: number;
}

export class Quotas {
  private readonly usages = new Map<string, Usage>();

  /** @param now ms, monotonic */
  constructor(
    private readonly options: QuotaOptions,
    private readonly now: () => number = () => performance.now(),
  ) {}

  /** @returns gives the acquisition back, once, however often it is called @throws SaladError QUOTA_EXCEEDED */
  begin(identity: string): () => void {
    const usage = this.usageOf(identity);
    const { maxAcquisitions } = this.options;
    if (maxAcquisitions > 0 && usage.acquisitions >= maxAcquisitions) {
      throw new SaladError('QUOTA_EXCEEDED', `${identity} has ${maxAcquisitions} acquisitions open already`);
    }
    usage.acquisitions += 1;
    let isOpen = true;
    return () => {
      if (isOpen) usage.acquisitions -= 1;
      isOpen = false;
    };
  }

  /** Counts what has come in. */
  take(identity: string, bytes: number): void {
    const { maxBytesPerSecond } = this.options;
    if (maxBytesPerSecond === 0) return;
    const usage = this.usageOf(identity);
    usage.paidAt = Math.max(usage.paidAt, this.now()) + (1000 * bytes) / maxBytesPerSecond;
  }

  /** @throws SaladError QUOTA_EXCEEDED where an identity owes more than a pause can make good; it says how long */
  refuseDebt(identity: string): void {
    const owedMs = this.owedMs(identity);
    if (owedMs <= this.options.longestPauseMs) return;
    throw new SaladError('QUOTA_EXCEEDED', `${identity} has sent more bytes than are meant for one`, {
      retryAfterMs: Math.ceil(owedMs),
    });
  }

  /** @returns ms to wait before more is read of that identity; what is owed beyond that stays owed */
  pauseMs(identity: string): number {
    return Math.min(this.owedMs(identity), this.options.longestPauseMs);
  }

  private owedMs(identity: string): number {
    const usage = this.usages.get(identity);
    return usage === undefined ? 0 : Math.max(0, usage.paidAt - this.now() - BURST_MS);
  }

  private usageOf(identity: string): Usage {
    const known = this.usages.get(identity);
    if (known) return known;
    if (this.usages.size >= REMEMBERED) this.forgetIdle();
    const usage = { acquisitions: 0, paidAt: 0 };
    this.usages.set(identity, usage);
    return usage;
  }

  private forgetIdle(): void {
    const now = this.now();
    for (const [identity, { acquisitions, paidAt }] of this.usages) {
      if (acquisitions === 0 && paidAt <= now) this.usages.delete(identity);
    }
  }
}
