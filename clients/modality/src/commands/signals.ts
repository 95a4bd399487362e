/**
 * SIGTERM and SIGINT of the `salad-modality` command. A process with PID 1, as in a container, ignores a signal that it
 * has no handler for, so the handlers are there from the first moment.
 */

const SIGNALS = ['SIGTERM', 'SIGINT'] as const;
/** As the shell's convention for SIGINT, and as `salad`. */
const INTERRUPTED = 130;

let stop: (() => void) | undefined;

/** Installs the handlers; import as little as possible before. Until `onStop` a signal ends the process at once. */
export function handleSignals(): void {
  for (const signal of SIGNALS) process.on(signal, onSignal);
}

/** The next signal calls `work`, which should end the command; the one after it ends the process at once. */
export function onStop(work: () => void): void {
  stop = work;
}

function onSignal(): void {
  if (stop === undefined) process.exit(INTERRUPTED);
  const first = stop;
  stop = undefined;
  first();
}
