/** Work that must not be waited for beyond a limit. */
import { setTimeout as sleep } from 'node:timers/promises';
import { SaladError } from '../errors/index.js';

/** The work goes on, with nobody waiting. */
export class LimitPassed extends SaladError {}

/** @throws LimitPassed */
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
