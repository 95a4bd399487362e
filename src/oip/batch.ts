/** Runs the images of one request, a few at a time. */
import { SaladError } from '../errors/index.js';

/** Reasons for which an image may be refused because other images of its request hold the memory or the quota. */
const NO_ROOM: ReadonlySet<string> = new Set(['OVERLOADED', 'QUOTA_EXCEEDED']);

/**
 * Calls `work` for 0 to `count` - 1. The first error stops all others and is thrown. An image that is refused because no
 * memory is left, while other images of this request hold some, is tried again when one of them has ended: a request
 * alone on the server never fails because of its own images.
 * @param atOnce images at a time, at least 1
 * @throws what `work` throws; the reason of `signal` where it aborts
 */
export async function forEachImage(
  count: number,
  atOnce: number,
  signal: AbortSignal,
  work: (image: number, signal: AbortSignal) => Promise<void>,
): Promise<void> {
  const stop = new AbortController();
  const waiting: (() => void)[] = [];
  const wakeAll = () => {
    for (const wake of waiting.splice(0)) wake();
  };
  const onAbort = () => {
    stop.abort(signal.reason);
    wakeAll();
  };
  if (signal.aborted) onAbort();
  else signal.addEventListener('abort', onAbort, { once: true });
  let next = 0;
  let active = 0;
  const runOne = async (image: number): Promise<void> => {
    for (;;) {
      stop.signal.throwIfAborted();
      active += 1;
      try {
        await work(image, stop.signal);
        active -= 1;
        wakeAll();
        return;
      } catch (error) {
        active -= 1;
        const isRefused = error instanceof SaladError && NO_ROOM.has(error.reason);
        if (!isRefused || active === 0) throw error;
      }
      // A refused image held no memory, so its end is no reason for others to try again.
      await new Promise<void>((resolve) => waiting.push(resolve));
    }
  };
  const runner = async (): Promise<void> => {
    while (next < count) await runOne(next++);
  };
  try {
    const runners = Array.from({ length: Math.min(atOnce, count) }, runner);
    for (const each of runners) {
      each.catch((error: unknown) => {
        stop.abort(error);
        wakeAll();
      });
    }
    await Promise.allSettled(runners);
    stop.signal.throwIfAborted();
  } finally {
    signal.removeEventListener('abort', onAbort);
  }
}
