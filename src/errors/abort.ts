/** Converts the abort of a signal to an error. */
import { SaladError } from './index.js';

/** The reason of the signal if it is a SaladError, else a cancellation. */
export function abortError(signal: AbortSignal | undefined): SaladError {
  return signal?.reason instanceof SaladError
    ? signal.reason
    : new SaladError('CANCELLED', 'the caller cancelled', { cause: signal?.reason });
}

/** @throws SaladError of `abortError` where the signal has aborted */
export function throwIfAborted(signal: AbortSignal | undefined): void {
  if (signal?.aborted) throw abortError(signal);
}
