/** Waits between attempts. */

export interface BackoffOptions {
  /** Of the first wait, in ms. */
  readonly initialMs: number;
  readonly maxMs: number;
  /** Uniform in [0, 1). @default Math.random */
  readonly random?: () => number;
}

/**
 * Capped exponential wait with jitter: uniform in the upper half of the step, so that it grows and yet differs.
 * @param failures 1 or more
 */
export function waitMs(failures: number, { initialMs, maxMs, random = Math.random }: BackoffOptions): number {
  const step = Math.min(maxMs, initialMs * 2 ** Math.min(failures - 1, 52));
  return Math.round(step * (0.5 + random() / 2));
}
