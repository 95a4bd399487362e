/** Ctrl-C and SIGTERM: what runs is told to stop and may keep what it has. */
import { SaladError } from '../../errors/index.js';
import { EXIT, note } from './output.js';

const SIGNALS = ['SIGINT', 'SIGTERM'] as const;

/**
 * Runs `work` with a signal that Ctrl-C aborts. After it the exit code is 130, whether `work` returned what it had or
 * threw. A second Ctrl-C ends the process at once.
 * @throws SaladError CANCELLED where `work` ended because of it; whatever else `work` throws
 */
export async function untilInterrupted<T>(work: (signal: AbortSignal) => Promise<T>): Promise<T> {
  const abort = new AbortController();
  const onSignal = () => {
    // From here on the signals do what they do by default.
    forget();
    note('salad: stopping; a second Ctrl-C ends at once');
    abort.abort();
  };
  const forget = () => {
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
    forget();
    if (abort.signal.aborted) process.exitCode = EXIT.interrupted;
  }
}

/** Whether this is how an aborted call, timer or computation ends. */
function isCancellation(error: unknown): boolean {
  if (error instanceof SaladError) return error.reason === 'CANCELLED';
  if (!(error instanceof Error)) return false;
  return error.name === 'AbortError' || ('status' in error && error.status === 'CANCELLED');
}

/** @throws SaladError CANCELLED where the signal has aborted */
export function stopIfInterrupted(signal: AbortSignal): void {
  if (signal.aborted) throw new SaladError('CANCELLED', 'interrupted');
}
