/** What the cores can do at most: float32 fused multiply-adds in registers, by a small C program. */
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { packageRoot } from '../../src/util/package-root.js';
import { onCores } from '../support/cores.js';

export type PeakProbe =
  | {
      /** Which probe it was, for people. */
      readonly probe: string;
      /** @returns GFLOP/s of `threads` threads together; two operations per multiply-add */
      readonly measure: (threads: number, seconds: number, cores: string) => number;
    }
  | { readonly probe: null; readonly reason: string };

/** Needs a C compiler (`CC`, default cc): WebAssembly and Go reach neither AVX-512 nor its fused multiply-add. */
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
    const why = built.error?.message ?? built.stderr.trim().split('\n')[0];
    return { probe: null, reason: `${compiler} does not build the probe: ${why}` };
  }
  return {
    probe: `C, ${compiler} ${flags.slice(0, 3).join(' ')}`,
    measure: (threads, seconds, cores) => {
      const [command, args] = onCores(cores, program, [String(threads), String(seconds)]);
      return Number.parseFloat(execFileSync(command, [...args], { encoding: 'utf8' }));
    },
  };
}
