/** A time limit for the wait for a promise. */
import { setTimeout as sleep } from 'node:timers/promises';
import { SaladError } from '../errors/index.js';

/** The caller waits no longer; the work itself continues. */
export class LimitPassed extends SaladError {}

/**
 * @param what subject of the error message
 * @throws LimitPassed
 */
export async function withinLimit<T>(
  work: Promise<T>,
  limitMs: number | undefined,
  what: string,
): Promise<T> {
  if (limitMs === undefined) return work;
  const done = new AbortController();
  const limit = sleep(limitMs, undefined, { signal: done.signal, ref: false }).then(() => {
    throw new LimitPassed('ENGINE_FAILED', `${what}: not ready within ${limitMs} ms`);
  });
  limit.catch(() => {});
  try {
    return await Promise.race([work, limit]);
  } finally {
    done.abort();
  }
}
