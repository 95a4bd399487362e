/** Makes the machine about half as fast: one process that never waits for each core, beside whatever is measured. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { availableParallelism } from 'node:os';
import { onCores } from './cores.js';

/** @param cores taskset list; empty: all cores */
export async function withBusyCores<T>(cores: string, work: () => Promise<T>): Promise<T> {
  const count = cores === '' ? availableParallelism() : cores.split(',').length;
  const children = Array.from({ length: count }, () => {
    const [program, args] = onCores(cores, process.execPath, ['-e', 'for (;;);']);
    return spawn(program, [...args], { stdio: 'ignore' });
  });
  try {
    return await work();
  } finally {
    for (const child of children) {
      const exited = once(child, 'exit');
      child.kill('SIGKILL');
      await exited;
    }
  }
}
