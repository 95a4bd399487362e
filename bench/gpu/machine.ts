/** What the machine of a GPU run is. */
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { availableParallelism, cpus, release, totalmem } from 'node:os';
import { delimiter, join } from 'node:path';
import { packageRoot } from '../../src/util/package-root.js';
import type { Figures } from './report.js';

const FIELDS = 'name,driver_version,memory.total,clocks.max.sm,clocks.sm,power.limit,compute_cap';

export function describeMachine(environment: Readonly<Record<string, string | undefined>>): Figures {
  return {
    processor: cpus()[0]?.model,
    cores: availableParallelism(),
    memoryGiB: Math.round(totalmem() / 2 ** 30),
    kernel: release(),
    node: process.version,
    nvidiaSmi: nvidiaSmi(environment),
  };
}

/** One line for each GPU, with the fields of FIELDS; else why there is none. */
function nvidiaSmi(environment: Readonly<Record<string, string | undefined>>): string {
  const folders = [...(environment['PATH'] ?? '').split(delimiter), '/usr/bin', '/usr/local/nvidia/bin'];
  const program = folders.map((folder) => join(folder, 'nvidia-smi')).find(existsSync);
  if (program === undefined) return 'nvidia-smi is not there';
  try {
    const args = [`--query-gpu=${FIELDS}`, '--format=csv'];
    return execFileSync(program, args, { encoding: 'utf8', timeout: 20_000 }).trim();
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

/** The commit that scripts/gpu/build.mjs packed, or that of the checkout. */
export function commit(): string {
  const packed = join(packageRoot(), 'commit.txt');
  if (existsSync(packed)) return readFileSync(packed, 'utf8').trim();
  try {
    const args = ['rev-parse', '--short', 'HEAD'];
    return execFileSync('git', args, { cwd: packageRoot(), encoding: 'utf8' }).trim();
  } catch {
    return 'unknown';
  }
}
