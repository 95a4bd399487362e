/** Measures the peak rate of the cores, float32 fused multiply-adds in registers, with a small C program. */
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { packageRoot } from '../../src/util/package-root.js';
import { onCores } from '../support/cores.js';

export type PeakProbe =
  | {
      /** Human-readable description of the probe. */
      readonly probe: string;
      /** @returns GFLOP/s of `threads` threads together; two operations per multiply-add */
      readonly measure: (threads: number, seconds: number, cores: string) => number;
    }
  | { readonly probe: null; readonly reason: string };

/** Compiles the probe with a C compiler (`CC`, default cc): WebAssembly and Go cannot use AVX-512 multiply-adds. */
export function buildPeakProbe(): PeakProbe {
  const compiler = process.env['CC'] ?? 'cc';
  const folder = join(packageRoot(), '.cache/engines-bench');
  mkdirSync(folder, { recursive: true });
  const program = join(folder, 'peak');
  const flags = ['-O3', '-march=native', '-ffp-contract=fast', '-pthread', '-o', program];
  const built = spawnSync(compiler, [...flags, join(packageRoot(), 'bench/engines/peak.c')], {
    encoding: 'utf8',
  });
  if (built.status !== 0) {
    const message = built.error?.message ?? built.stderr.trim().split('\n')[0];
    return { probe: null, reason: `${compiler} cannot compile the probe: ${message}` };
  }
  return {
    probe: `C, ${compiler} ${flags.slice(0, 3).join(' ')}`,
    measure: (threads, seconds, cores) => {
      const [command, args] = onCores(cores, program, [String(threads), String(seconds)]);
      return Number.parseFloat(execFileSync(command, [...args], { encoding: 'utf8' }));
    },
  };
}
