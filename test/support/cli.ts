import { createProgram } from '../../src/cli/program.js';
import { runProgram } from '../../src/cli/shared/run.js';
import type { Finished } from './salad.js';

/** Runs a verb of `salad` in this process: as `salad` in support/salad.ts, without the start of another one. */
export async function runSalad(...args: readonly string[]): Promise<Finished> {
  let stdout = '';
  let stderr = '';
  const original = { out: process.stdout.write, err: process.stderr.write };
  process.stdout.write = ((text: string | Uint8Array) => {
    stdout += String(text);
    return true;
  }) as typeof process.stdout.write;
  process.stderr.write = ((text: string | Uint8Array) => {
    stderr += String(text);
    return true;
  }) as typeof process.stderr.write;
  try {
    const code = await runProgram(createProgram({ environment: {} }), ['node', 'salad', ...args]);
    const lines = stdout
      .split('\n')
      .filter((line) => line.startsWith('{'))
      .map((line) => JSON.parse(line) as Record<string, unknown>);
    return { code, stdout, stderr, lines };
  } finally {
    process.stdout.write = original.out;
    process.stderr.write = original.err;
  }
}
