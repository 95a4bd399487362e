/** Ends a child process. A suite must end every process that it starts: an open channel to one keeps the benchmark. */
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';

/** Time for a process to end by itself after SIGTERM. */
const GRACE_MS = 10_000;

/** Resolves when the process has ended, also where it had ended before or was never started. */
export async function endProcess(child: ChildProcess): Promise<void> {
  if (child.pid === undefined || child.exitCode !== null || child.signalCode !== null) return;
  const exited = once(child, 'exit');
  child.kill('SIGTERM');
  const timer = setTimeout(() => child.kill('SIGKILL'), GRACE_MS);
  await exited;
  clearTimeout(timer);
}

/** Ends the process when the signal is aborted. */
export function endOnAbort(child: ChildProcess, signal: AbortSignal | undefined): void {
  const end = () => void endProcess(child);
  if (signal?.aborted) end();
  else signal?.addEventListener('abort', end, { once: true });
  child.once('exit', () => signal?.removeEventListener('abort', end));
}
