/** Says when what was lost may be started again: the wait doubles with every failure in a row, up to a limit. */

interface Failures {
  count: number;
  /** On the caller's clock, in ms. */
  retryAt: number;
}

export class BackOff<Key> {
  /** Failures in a row, by what fails. */
  private readonly failures = new Map<Key, Failures>();

  constructor(
    private readonly firstMs: number,
    private readonly maxMs: number,
  ) {}

  /**
   * Records that it was lost or did not start.
   * @param servedMs how long it had served; what served for `maxMs` or longer begins with the first wait again
   * @returns ms until it may be started again
   */
  recordFailure(key: Key, now: number, servedMs = 0): number {
    const earlier = servedMs >= this.maxMs ? 0 : (this.failures.get(key)?.count ?? 0);
    const waitMs = Math.min(this.maxMs, this.firstMs * 2 ** earlier);
    this.failures.set(key, { count: earlier + 1, retryAt: now + waitMs });
    return waitMs;
  }

  /** 0 where it may be started now. */
  remainingMs(key: Key, now: number): number {
    return Math.max(0, (this.failures.get(key)?.retryAt ?? now) - now);
  }
}
