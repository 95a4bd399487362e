/** DCMTK's programs as a modality of the gateway's tests; `node scripts/dicom-tools.mjs` installs them. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { root } from '../root.js';

/** Skips where a program is missing, but never in CI. */
export async function needs(context: Mocha.Context, ...programs: readonly string[]): Promise<void> {
  const { installedProgram } = await import(join(root, 'scripts/dicom-tools.mjs'));
  const missing = programs.filter((name) => installedProgram(name) === undefined);
  if (missing.length === 0 || process.env['CI'] !== undefined) return;
  context.skip();
}

export interface ProgramResult {
  readonly code: number | null;
  /** Of stdout and stderr. */
  readonly output: string;
}

/** Runs a program to its end. */
export async function runProgram(name: string, ...args: readonly string[]): Promise<ProgramResult> {
  const child = spawn(name, args, { stdio: ['ignore', 'pipe', 'pipe'] });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.on('data', (chunk: Buffer) => {
      output += chunk.toString('latin1');
    });
  }
  const [code] = (await once(child, 'close')) as [number | null];
  return { code, output };
}

/** Status codes of the C-STORE responses in the output of `storescu -v -d`. */
export function storeStatuses(output: string): readonly string[] {
  return [...output.matchAll(/DIMSE Status\s*: (0x[0-9a-f]{4})/gi)].map((match) => match[1]!.toLowerCase());
}
