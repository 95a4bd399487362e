/** A token bucket for each peer: how many calls it may begin in a second. */

export interface RateOptions {
  /** 0 means any number. */
  readonly perSecond: number;
  /** Monotonic, in ms. @default performance.now */
  readonly now?: () => number;
}

/** Peers that owe nothing are forgotten when there are this many. */
const REMEMBERED = 4096;
/** What may come at once after a silence, in ms of the rate. */
const BURST_MS = 500;

export class Rates {
  /** When what a peer has taken is paid off at the rate. */
  private readonly paidAt = new Map<string, number>();
  private readonly now: () => number;

  constructor(private readonly options: RateOptions) {
    this.now = options.now ?? (() => performance.now());
  }

  /**
   * Counts what a peer does, allowed or not.
   * @returns 0 where it is within the rate, else ms until what it did is paid off
   */
  take(peer: string, count = 1): number {
    const { perSecond } = this.options;
    if (perSecond === 0) return 0;
    const now = this.now();
    if (this.paidAt.size >= REMEMBERED && !this.paidAt.has(peer)) this.forgetPaid(now);
    const paidAt = Math.max(this.paidAt.get(peer) ?? 0, now) + (1000 * count) / perSecond;
    this.paidAt.set(peer, paidAt);
    return Math.max(0, paidAt - now - BURST_MS);
  }

  /** As `take`, without counting anything. */
  owedMs(peer: string): number {
    return Math.max(0, (this.paidAt.get(peer) ?? 0) - this.now() - BURST_MS);
  }

  private forgetPaid(now: number): void {
    for (const [peer, paidAt] of this.paidAt) if (paidAt <= now) this.paidAt.delete(peer);
  }
}
