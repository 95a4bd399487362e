/**
 * Time limits of asynchronous work. `AbortSignal.any` and `AbortSignal.timeout` are not used in this project: on Node 20
 * a signal that only these functions refer to may be garbage-collected, and its time limit then never ends the work.
 */
import { setTimeout as sleep } from 'node:timers/promises';

/** Waits for work that cannot be ended, for `limitMs` at most. Rejects where the work does so in time. */
export async function settledWithin(work: Promise<void>, limitMs: number): Promise<void> {
  const waiting = new AbortController();
  try {
    await Promise.race([work, sleep(limitMs, undefined, { signal: waiting.signal })]);
  } finally {
    waiting.abort();
  }
}

/**
 * Runs `work` with a signal that aborts when `signal` does, and after `limitMs`.
 * @param limitMs above 0
 * @throws DOMException TimeoutError where the work failed after the time limit had passed, AbortError where it failed
 * after `signal` had aborted; any other error of `work`
 */
export async function withTimeLimit<T>(
  limitMs: number,
  signal: AbortSignal | undefined,
  work: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const controller = new AbortController();
  const onAbort = () => controller.abort(new DOMException('aborted', 'AbortError'));
  const timer = setTimeout(
    () => controller.abort(new DOMException(`took longer than ${limitMs} ms`, 'TimeoutError')),
    limitMs,
  );
  signal?.addEventListener('abort', onAbort, { once: true });
  if (signal?.aborted) onAbort();
  try {
    return await work(controller.signal);
  } catch (error) {
    throw controller.signal.aborted ? controller.signal.reason : error;
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener('abort', onAbort);
  }
}
