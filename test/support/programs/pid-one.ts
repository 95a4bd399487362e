/** Processes with PID 1 in a PID namespace of their own, as in a container. */
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { eventually } from '../eventually.js';

/** What starts a program as PID 1; its exit code is that of the program, 128 and the signal where one ended it. */
export const AS_PID_ONE: readonly string[] = ['unshare', '--pid', '--fork', '--kill-child'];

/** Skips where this user may not create PID namespaces, but never in CI. */
export function needsPidNamespaces(context: Mocha.Context): void {
  if (process.env['CI'] !== undefined) return;
  const [program, ...args] = AS_PID_ONE;
  if (spawnSync(program!, [...args, 'true']).status !== 0) context.skip();
}

/** Number, outside of the namespace, of the process that `unshare` started as PID 1. */
export async function pidOneOf(unshare: number): Promise<number> {
  let children: readonly string[] = [];
  await eventually(() => {
    children = readFileSync(`/proc/${unshare}/task/${unshare}/children`, 'utf8').split(' ').filter(Boolean);
    if (children.length !== 1) throw new Error(`unshare has ${children.length} child processes`);
  });
  return Number(children[0]);
}
