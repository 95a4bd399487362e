/**
 * Limits the rate of each peer's calls with the generic cell rate algorithm, a token bucket that stores one time for
 * each peer: the theoretical arrival time, at which its next call would be exactly within the rate.
 */

export interface RateLimiterOptions {
  /** Calls a second of each peer. 0 means no limit. */
  readonly callsPerSecond: number;
  /** Monotonic, in ms. @default performance.now */
  readonly now?: () => number;
}

/** With this many peers, those whose theoretical arrival time has passed are removed. */
const PEERS_MAX = 4096;
/** Largest burst after a pause, in ms of the rate. */
const BURST_MS = 500;

export class RateLimiter {
  private readonly arrivalMsByPeer = new Map<string, number>();
  private readonly now: () => number;

  constructor(private readonly options: RateLimiterOptions) {
    this.now = options.now ?? (() => performance.now());
  }

  /**
   * Counts calls of a peer, whether they are allowed or not.
   * @returns ms by which the peer exceeds its rate and burst: after that time it is within them; 0 where it is within
   */
  record(peer: string, calls = 1): number {
    const { callsPerSecond } = this.options;
    if (callsPerSecond === 0) return 0;
    const now = this.now();
    if (this.arrivalMsByPeer.size >= PEERS_MAX && !this.arrivalMsByPeer.has(peer)) this.removePassed(now);
    const arrivalMs = Math.max(this.arrivalMsByPeer.get(peer) ?? 0, now) + (1000 * calls) / callsPerSecond;
    this.arrivalMsByPeer.set(peer, arrivalMs);
    return Math.max(0, arrivalMs - now - BURST_MS);
  }

  /** As `record`, without counting a call. */
  excessMs(peer: string): number {
    return Math.max(0, (this.arrivalMsByPeer.get(peer) ?? 0) - this.now() - BURST_MS);
  }

  private removePassed(now: number): void {
    for (const [peer, arrivalMs] of this.arrivalMsByPeer) {
      if (arrivalMs <= now) this.arrivalMsByPeer.delete(peer);
    }
  }
}
