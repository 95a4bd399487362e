/** Which cores the engine or server gets and which the client, so that neither takes the other's time. */
import { execFileSync } from 'node:child_process';
import { availableParallelism } from 'node:os';

export interface CorePlan {
  /** For the raw engine, the server and the peers, one after the other on the same cores; a taskset list. */
  readonly server: string;
  /** For the load client; a taskset list. */
  readonly client: string;
  readonly serverCores: number;
  /** False where there are fewer than three cores or no `taskset`: then everything shares all cores. */
  readonly pinned: boolean;
}

/**
 * A quarter of the cores, at least one, drive the load; the rest serve. Linux with util-linux only. With two
 * cores nothing is pinned: half the machine for the client would leave the engine's threads and the port's one
 * core to fight over; the client's CPU time is subtracted instead.
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

/** `command` as it must be spawned to stay on `cores`. */
export function onCores(
  cores: string,
  command: string,
  args: readonly string[],
): readonly [string, readonly string[]] {
  return cores === '' ? [command, args] : ['taskset', ['-c', cores, command, ...args]];
}

/** Keeps every thread of this process on `cores` while `work` runs. */
export async function withCores<T>(cores: string, work: () => Promise<T>): Promise<T> {
  if (cores === '') return work();
  const before = allowedCores().join(',');
  const pin = (list: string) => execFileSync('taskset', ['-a', '-p', '-c', list, String(process.pid)]);
  pin(cores);
  try {
    return await work();
  } finally {
    pin(before);
  }
}

/** Core numbers this process may use; empty where taskset cannot tell. */
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
