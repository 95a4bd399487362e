/** Handles Ctrl-C and SIGTERM: aborts the running work, which may keep its partial results. */
import { SaladError } from '../../errors/index.js';
import { EXIT, note } from './output.js';

const SIGNALS = ['SIGINT', 'SIGTERM'] as const;

/**
 * Runs `work` with a signal that Ctrl-C aborts. After an interrupt the exit code is 130, whether `work` returned
 * partial results or threw. A second Ctrl-C ends the process at once.
 * @throws SaladError CANCELLED if `work` ended because of the interrupt; any other error that `work` throws
 */
export async function runInterruptible<T>(work: (signal: AbortSignal) => Promise<T>): Promise<T> {
  const abort = new AbortController();
  const onSignal = () => {
    // Restores the default: the next signal ends the process.
    removeHandlers();
    note('salad: stopping; press Ctrl-C again to exit at once');
    abort.abort();
  };
  const removeHandlers = () => {
    for (const name of SIGNALS) process.off(name, onSignal);
  };
  for (const name of SIGNALS) process.on(name, onSignal);
  try {
    return await work(abort.signal);
  } catch (error) {
    if (abort.signal.aborted && isCancellation(error)) {
      throw new SaladError('CANCELLED', 'interrupted', { cause: error });
    }
    throw error;
  } finally {
    removeHandlers();
    if (abort.signal.aborted) process.exitCode = EXIT.interrupted;
  }
}

/** Whether the error is the result of an aborted call, timer or computation. */
function isCancellation(error: unknown): boolean {
  if (error instanceof SaladError) return error.reason === 'CANCELLED';
  if (!(error instanceof Error)) return false;
  return error.name === 'AbortError' || ('status' in error && error.status === 'CANCELLED');
}

/** @throws SaladError CANCELLED if the signal has aborted */
export function throwIfInterrupted(signal: AbortSignal): void {
  if (signal.aborted) throw new SaladError('CANCELLED', 'interrupted');
}
