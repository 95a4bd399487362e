/** What every call takes, and its errors. */
import type { ServiceError } from '@grpc/grpc-js';
import { SaladClientError } from './errors.js';

export interface CallOptions {
  /** Cancels the call; it then throws with status CANCELLED. */
  readonly signal?: AbortSignal;
  /** Milliseconds until the call fails with DEADLINE_EXCEEDED, retries included. @default none */
  readonly timeoutMs?: number;
}

export function deadlineOf(options: CallOptions): { deadline?: number } {
  return options.timeoutMs === undefined ? {} : { deadline: Date.now() + options.timeoutMs };
}

/** @returns a function that removes the listener */
export function cancelOnAbort(call: { cancel(): void }, signal: AbortSignal | undefined): () => void {
  if (!signal) return () => {};
  const abort = () => call.cancel();
  if (signal.aborted) abort();
  else signal.addEventListener('abort', abort, { once: true });
  return () => signal.removeEventListener('abort', abort);
}

/** Converts errors of grpc-js; returns other errors unchanged. */
export function clientError(error: unknown): unknown {
  return error instanceof Error && 'code' in error && 'details' in error
    ? new SaladClientError(error as ServiceError)
    : error;
}
