import { SaladError } from '../errors/index.js';

/** A signal may carry one of our errors as its reason; anything else is a cancellation. */
export function abortError(signal: AbortSignal): SaladError {
  return signal.reason instanceof SaladError
    ? signal.reason
    : new SaladError('CANCELLED', 'the caller cancelled', { cause: signal.reason });
}
