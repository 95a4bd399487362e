/** When a lost engine may be tried again: later after every failure in a row, up to a limit. */
import type { EngineName } from '../engines/engine.js';

interface Failures {
  inARow: number;
  /** On the caller's clock, in ms. */
  retryAt: number;
}

export class BackOff {
  private readonly failures = new Map<EngineName, Failures>();

  constructor(
    private readonly firstMs: number,
    private readonly maxMs: number,
  ) {}

  /**
   * The engine was lost, or did not start.
   * @param servedMs how long it had served by then; as long as the longest wait makes a fresh start
   * @returns ms until it may be tried again
   */
  failed(engine: EngineName, now: number, servedMs = 0): number {
    const before = servedMs >= this.maxMs ? 0 : (this.failures.get(engine)?.inARow ?? 0);
    const waitMs = Math.min(this.maxMs, this.firstMs * 2 ** before);
    this.failures.set(engine, { inARow: before + 1, retryAt: now + waitMs });
    return waitMs;
  }

  /** In ms; 0 where it may be tried at once. */
  remaining(engine: EngineName, now: number): number {
    return Math.max(0, (this.failures.get(engine)?.retryAt ?? now) - now);
  }
}
