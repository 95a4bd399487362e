/** Divides the cores between the engine or server and the client, so that neither slows the other down. */
import { execFileSync } from 'node:child_process';
import { availableParallelism } from 'node:os';

export interface CorePlan {
  /** Taskset list for the raw engine, the server and the peers, which run alternately. */
  readonly server: string;
  /** Taskset list for the load generator. */
  readonly client: string;
  readonly serverCores: number;
  /** False with fewer than three cores or without `taskset`: then everything shares all cores. */
  readonly pinned: boolean;
}

/**
 * Gives a quarter of the cores, at least one, to the client and the rest to the server; only on Linux with util-linux.
 * With two cores nothing is pinned: the engine and the port of the server would share a single core. The CPU time of
 * the client is subtracted instead.
 */
export function planCores(): CorePlan {
  const allowed = allowedCores();
  const clientCores = Math.max(1, Math.floor(allowed.length / 4));
  if (allowed.length < 3)
    return { server: '', client: '', serverCores: availableParallelism(), pinned: false };
  const serverCores = allowed.length - clientCores;
  return {
    server: allowed.slice(0, serverCores).join(','),
    client: allowed.slice(serverCores).join(','),
    serverCores,
    pinned: true,
  };
}

/** The program and arguments that run `command` on `cores` only. */
export function onCores(
  cores: string,
  command: string,
  args: readonly string[],
): readonly [string, readonly string[]] {
  return cores === '' ? [command, args] : ['taskset', ['-c', cores, command, ...args]];
}

/** Pins every thread of this process to `cores` while `work` runs. */
export async function withCores<T>(cores: string, work: () => Promise<T>): Promise<T> {
  if (cores === '') return work();
  const originalCores = allowedCores().join(',');
  const pin = (list: string) => execFileSync('taskset', ['-a', '-p', '-c', list, String(process.pid)]);
  pin(cores);
  try {
    return await work();
  } finally {
    pin(originalCores);
  }
}

/** Numbers of the cores that this process may use; empty without `taskset`. */
function allowedCores(): readonly number[] {
  try {
    const answer = execFileSync('taskset', ['-p', '-c', String(process.pid)], { encoding: 'utf8' });
    const list = answer.slice(answer.lastIndexOf(':') + 1).trim();
    return list.split(',').flatMap((range) => {
      const [first = Number.NaN, last = first] = range.split('-').map(Number);
      return Array.from({ length: last - first + 1 }, (_, index) => first + index);
    });
  } catch {
    return [];
  }
}
