/** The processes that a process has started, from /proc. */
import { readdirSync, readFileSync } from 'node:fs';

function read(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    // The process has ended meanwhile.
    return '';
  }
}

/** @returns ids of the child processes whose command line contains `part` */
export function childProcesses(parent: number, part: string): readonly number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .filter((pid) => Number(/\) \S (\d+)/.exec(read(`/proc/${pid}/stat`))?.[1]) === parent)
    .filter((pid) => read(`/proc/${pid}/cmdline`).includes(part))
    .map(Number);
}

/** The server processes of `salad serve` with several. */
export function serverProcesses(first: number | undefined): readonly number[] {
  return childProcesses(first ?? 0, 'server/processes/entry');
}
