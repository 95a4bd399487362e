/** Retries of broken acquisitions. Retrying is safe: scoring changes nothing, and every attempt gives the same result. */
import { setTimeout as delay } from 'node:timers/promises';
import { SaladClientError } from './errors.js';

export interface RetryOptions {
  /** Number of attempts, including the first. @default 8; with `timeoutMs` no limit but the deadline */
  readonly maxAttempts?: number;
  /** Upper bound of the first random wait, in ms; doubles with every attempt. @default 100 */
  readonly initialBackoffMs?: number;
  /** Largest upper bound of a wait, in ms. @default 5000 */
  readonly maxBackoffMs?: number;
  /** Uniform in [0, 1). @default Math.random */
  readonly random?: () => number;
  /** Waits for `ms`; rejects if the signal aborts. @default a timer */
  readonly sleep?: (ms: number, signal: AbortSignal | undefined) => Promise<void>;
}

/** Passed to `onRetry` before every retry. Discard the events of the failed attempt. */
export interface RetryNotice {
  /** Number of the next attempt: 2 for the first retry. */
  readonly attempt: number;
  /** Wait before the next attempt. */
  readonly delayMs: number;
  /** Error of the previous attempt. */
  readonly error: SaladClientError;
}

export interface RetryContext {
  /** False if the pixels cannot be sent twice: then there is only one attempt. */
  readonly replayable: boolean;
  /** Time limit of all attempts and waits together. */
  readonly timeoutMs?: number | undefined;
  readonly signal?: AbortSignal | undefined;
  readonly onRetry?: ((notice: RetryNotice) => void) | undefined;
  /** Monotonic, in ms. @default performance.now */
  readonly now?: () => number;
}

const MAX_ATTEMPTS = 8;
const INITIAL_BACKOFF_MS = 100;
const MAX_BACKOFF_MS = 5000;
/** Only one, because a source that is always slow (and not paused once) would time out every time. */
const MAX_IDLE_RETRIES = 1;

/**
 * Runs attempts until one succeeds, one fails with a permanent error, or the attempts or the time are used up.
 *
 * @param attempt gets its remaining time in ms; undefined without a deadline
 * @throws the error of the last attempt
 */
export async function withRetry<T>(
  attempt: (timeoutMs: number | undefined) => Promise<T>,
  options: RetryOptions | false,
  { replayable, timeoutMs, signal, onRetry, now = () => performance.now() }: RetryContext,
): Promise<T> {
  if (options === false || !replayable) return attempt(timeoutMs);
  const { maxAttempts = timeoutMs === undefined ? MAX_ATTEMPTS : Number.POSITIVE_INFINITY, sleep = wait } =
    options;
  const deadline = now() + (timeoutMs ?? Number.POSITIVE_INFINITY);
  const remainingMs = () => deadline - now();
  let idleTimeouts = 0;
  for (let number = 1; ; number++) {
    try {
      return await attempt(timeoutMs === undefined ? undefined : Math.max(1, remainingMs()));
    } catch (error) {
      if (!isBroken(error) || signal?.aborted || number >= maxAttempts) throw error;
      if (isIdleTimeout(error) && ++idleTimeouts > MAX_IDLE_RETRIES) throw error;
      const delayMs = backoffMs(number, options) + (error.retryAfterMs ?? 0);
      // No time would remain after the wait: the error is more useful now than a DEADLINE_EXCEEDED later.
      if (delayMs >= remainingMs()) throw error;
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
 * Computes a wait with full jitter: uniform between 0 and the exponential step, so that clients that were refused
 * together do not retry together (Brooker, "Exponential Backoff And Jitter", AWS 2015).
 *
 * @param number number of the failed attempt, from 1
 * @returns ms
 */
export function backoffMs(number: number, options: RetryOptions): number {
  const {
    initialBackoffMs = INITIAL_BACKOFF_MS,
    maxBackoffMs = MAX_BACKOFF_MS,
    random = Math.random,
  } = options;
  return random() * Math.min(maxBackoffMs, initialBackoffMs * 2 ** (number - 1));
}

/**
 * Whether a retry can help: the connection or the server was lost, this client was paused, or the server refused the
 * call with a retry delay.
 */
export function isBroken(error: unknown): error is SaladClientError {
  if (!(error instanceof SaladClientError)) return false;
  if (error.status === 'UNAVAILABLE' || isIdleTimeout(error)) return true;
  if (error.status === 'RESOURCE_EXHAUSTED') return error.retryAfterMs !== undefined;
  // A reset for which grpc-js does not report UNAVAILABLE. Errors of the server itself have a reason.
  const isReset = error.status === 'INTERNAL' || error.status === 'CANCELLED';
  return isReset && error.reason === undefined && /RST_STREAM|Call cancelled|ECONNRESET/.test(error.message);
}

/** The server received nothing for too long: this process or machine was paused, or the network was slow. */
function isIdleTimeout(error: SaladClientError): boolean {
  return error.reason === 'IDLE_TIMEOUT';
}

function wait(ms: number, signal: AbortSignal | undefined): Promise<void> {
  return delay(ms, undefined, signal ? { signal } : {});
}
