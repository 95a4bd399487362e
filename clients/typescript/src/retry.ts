/** When a broken acquisition is tried again. Scoring is pure, so a second attempt can only give the same result. */
import { setTimeout as delay } from 'node:timers/promises';
import { SaladClientError } from './errors.js';

export interface RetryOptions {
  /** Attempts in all, the first included. @default 8; with `timeoutMs` as many as fit before the deadline */
  readonly maxAttempts?: number;
  /** Upper end of the first random wait, in ms; doubles with every attempt. @default 100 */
  readonly initialBackoffMs?: number;
  /** The upper end never grows past this, in ms. @default 5000 */
  readonly maxBackoffMs?: number;
  /** Uniform in [0, 1). @default Math.random */
  readonly random?: () => number;
  /** Waits that many ms, or rejects when the signal aborts. @default the timer */
  readonly sleep?: (ms: number, signal: AbortSignal | undefined) => Promise<void>;
}

/** Told before every further attempt: forget the events of the attempt that broke. */
export interface RetryNotice {
  /** Number of the attempt about to start: 2 for the first retry. */
  readonly attempt: number;
  /** The wait before it. */
  readonly delayMs: number;
  /** Why the attempt before it broke. */
  readonly error: SaladClientError;
}

export interface RetryContext {
  /** False where the pixels cannot be sent twice: then there is one attempt. */
  readonly replayable: boolean;
  /** For all attempts and waits together. */
  readonly timeoutMs?: number | undefined;
  readonly signal?: AbortSignal | undefined;
  readonly onRetry?: ((notice: RetryNotice) => void) | undefined;
}

const ATTEMPTS = 8;
const INITIAL_BACKOFF_MS = 100;
const MAX_BACKOFF_MS = 5000;
/** A source that is slow, and not a pause, would time out again and again. */
const IDLE_RETRIES = 1;

/**
 * Runs attempts until one ends well, fails for good, or no time is left; then the last attempt's error is thrown.
 *
 * @param attempt gets the milliseconds left for it, undefined without a deadline
 */
export async function withRetry<T>(
  attempt: (timeoutMs: number | undefined) => Promise<T>,
  options: RetryOptions | false,
  { replayable, timeoutMs, signal, onRetry }: RetryContext,
): Promise<T> {
  if (options === false || !replayable) return attempt(timeoutMs);
  const { maxAttempts = timeoutMs === undefined ? ATTEMPTS : Number.POSITIVE_INFINITY, sleep = wait } =
    options;
  const giveUpAt = performance.now() + (timeoutMs ?? Number.POSITIVE_INFINITY);
  const left = () => giveUpAt - performance.now();
  let timeouts = 0;
  for (let number = 1; ; number++) {
    try {
      return await attempt(timeoutMs === undefined ? undefined : Math.max(1, left()));
    } catch (error) {
      if (!isBroken(error) || signal?.aborted || number >= maxAttempts) throw error;
      if (isIdleTimeout(error) && ++timeouts > IDLE_RETRIES) throw error;
      const delayMs = backoffMs(number, options) + (error.retryAfterMs ?? 0);
      // Nothing could be done in what would be left after the wait: the reason is worth more than the time.
      if (delayMs >= left()) throw error;
      onRetry?.({ attempt: number + 1, delayMs, error });
      try {
        await sleep(delayMs, signal);
      } catch (aborted) {
        if (!signal?.aborted) throw aborted;
        throw SaladClientError.local('CANCELLED', 'cancelled while waiting for the next attempt', error);
      }
    }
  }
}

/**
 * Full jitter: uniform between nothing and the exponential step, so that clients refused together do not come
 * back together (Brooker, "Exponential Backoff And Jitter", AWS 2015).
 *
 * @param number of the attempt that broke, from 1
 */
export function backoffMs(number: number, options: RetryOptions): number {
  const {
    initialBackoffMs = INITIAL_BACKOFF_MS,
    maxBackoffMs = MAX_BACKOFF_MS,
    random = Math.random,
  } = options;
  return random() * Math.min(maxBackoffMs, initialBackoffMs * 2 ** (number - 1));
}

/** The connection or the server went away or was paused, or the server asked to come back later. */
export function isBroken(error: unknown): error is SaladClientError {
  if (!(error instanceof SaladClientError)) return false;
  if (error.status === 'UNAVAILABLE' || isIdleTimeout(error)) return true;
  if (error.status === 'RESOURCE_EXHAUSTED') return error.retryAfterMs !== undefined;
  // A reset that grpc-js could not put down to the connection. The server's own errors carry a reason.
  const isReset = error.status === 'INTERNAL' || error.status === 'CANCELLED';
  return isReset && error.reason === undefined && /RST_STREAM|Call cancelled|ECONNRESET/.test(error.message);
}

/** The server heard nothing for too long: this process was paused, its machine asleep, or the line was slow. */
function isIdleTimeout(error: SaladClientError): boolean {
  return error.reason === 'IDLE_TIMEOUT';
}

function wait(ms: number, signal: AbortSignal | undefined): Promise<void> {
  return delay(ms, undefined, signal ? { signal } : {});
}
