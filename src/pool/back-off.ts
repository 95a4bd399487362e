/** Says when a lost engine may be started again: the wait doubles with every failure in a row, up to a limit. */
import type { EngineName } from '../engines/engine.js';

interface Failures {
  count: number;
  /** On the caller's clock, in ms. */
  retryAt: number;
}

export class BackOff {
  /** Failures in a row, by engine. */
  private readonly failures = new Map<EngineName, Failures>();

  constructor(
    private readonly firstMs: number,
    private readonly maxMs: number,
  ) {}

  /**
   * Records that the engine was lost or did not start.
   * @param servedMs how long it had served; an engine that served for `maxMs` or longer begins with the first wait
   *   again
   * @returns ms until it may be started again
   */
  recordFailure(engine: EngineName, now: number, servedMs = 0): number {
    const earlier = servedMs >= this.maxMs ? 0 : (this.failures.get(engine)?.count ?? 0);
    const waitMs = Math.min(this.maxMs, this.firstMs * 2 ** earlier);
    this.failures.set(engine, { count: earlier + 1, retryAt: now + waitMs });
    return waitMs;
  }

  /** 0 where the engine may be started now. */
  remainingMs(engine: EngineName, now: number): number {
    return Math.max(0, (this.failures.get(engine)?.retryAt ?? now) - now);
  }
}
