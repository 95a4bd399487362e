/** `status --watch`: shows the status again and again until Ctrl-C. */
import { setTimeout as sleep } from 'node:timers/promises';
import { EXIT, isStdoutClosed, print, printJson } from '../../../../src/cli/shared/output.js';
import type { Queue } from './queue.js';
import { onStop } from './signals.js';
import { lineOfStatus, readStatus, type Status, textOfStatus } from './status-text.js';

/** Moves to the upper left corner and clears the screen from there. */
const CLEAR = '\x1b[H\x1b[J';

/** Ends after a signal, with exit code 130, or when the output is closed, such as by `head`. */
export async function watchStatus(queue: Queue, intervalMs: number, json: boolean): Promise<void> {
  const abort = new AbortController();
  onStop(() => {
    process.exitCode = EXIT.interrupted;
    abort.abort();
  });
  while (!abort.signal.aborted && !isStdoutClosed()) {
    show(await readStatus(queue), json);
    await sleep(intervalMs, undefined, { signal: abort.signal }).catch(() => {});
  }
}

function show(status: Status, json: boolean): void {
  const time = new Date().toISOString();
  if (json) printJson({ event: 'status', time, ...status });
  else if (process.stdout.isTTY)
    process.stdout.write(`${CLEAR}${screenOf(`${time}\n\n${textOfStatus(status)}`)}\n`);
  else print(`${time} ${lineOfStatus(status)}`);
}

/** As many lines as the terminal has, so that it does not scroll. */
function screenOf(text: string): string {
  const lines = text.split('\n');
  const room = (process.stdout.rows || lines.length + 1) - 1;
  if (lines.length <= room) return text;
  const shown = lines.slice(0, Math.max(0, room - 1));
  return [...shown, `${lines.length - shown.length} more lines: see status without --watch`].join('\n');
}
