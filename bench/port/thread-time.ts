/** CPU time of the threads of a process, from /proc: only on Linux. */
import { readdirSync, readFileSync } from 'node:fs';

/** CPU time in ms, to 10 ms. */
export interface ThreadTime {
  /** The main thread, which runs the port. */
  readonly main: number;
  /** All threads, main included. */
  readonly all: number;
}

const TICK_MS = 10;

export function threadTime(pid: number): ThreadTime {
  let main = 0;
  let all = 0;
  for (const thread of readdirSync(`/proc/${pid}/task`)) {
    const stat = readFileSync(`/proc/${pid}/task/${thread}/stat`, 'utf8');
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    const ms = TICK_MS * (Number(fields[11]) + Number(fields[12]));
    all += ms;
    if (Number(thread) === pid) main = ms;
  }
  return { main, all };
}
