/** Starts servers whose engine answers at once. */
import { join } from 'node:path';
import { packageRoot, shippedModels } from '../../src/util/package-root.js';
import { NO_QUEUE_LIMIT, type ServerProcess, startProcess } from '../support/server-process.js';

export interface InstantOptions {
  /** File for a CPU profile. @default none */
  readonly profile?: string;
  /** Server processes behind the port. @default 1 */
  readonly processes?: number;
  /** @default true */
  readonly openInference?: boolean;
}

/** A server of `salad-process.ts` on given cores. */
export function startInstant(
  cores: string,
  { profile, processes = 1, openInference = true }: InstantOptions = {},
): Promise<ServerProcess> {
  const program = join(packageRoot(), 'dist/bench/port/salad-process.js');
  const args = [program, shippedModels(), ...(profile === undefined ? [] : [profile])];
  return startProcess(process.execPath, args, cores, {
    ...NO_QUEUE_LIMIT,
    SALAD_LOG_LEVEL: 'warn',
    SALAD_BENCH_PROCESSES: String(processes),
    SALAD_BENCH_OPEN_INFERENCE: openInference ? 'on' : 'off',
  });
}
