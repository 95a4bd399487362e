/** Runs a program of this package in a process and returns what it printed. */
import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { packageRoot } from '../../src/util/package-root.js';
import { endOnAbort } from '../support/end-process.js';
import type { RunContext } from './run.js';

export interface ProgramResult {
  readonly status: number | null;
  readonly stdout: string;
  /** The last lines. */
  readonly stderr: string;
}

/** Characters of stderr that are kept for the results; the log has all. */
const STDERR_MAX = 2000;

/** The `salad` command. */
export const SALAD = join(packageRoot(), 'dist/src/main.js');

/** Runs `node ARGUMENTS` until it ends, or until the signal ends it. What it writes on stderr goes to the log. */
export async function runProgram(
  context: RunContext,
  args: readonly string[],
  signal: AbortSignal,
  environment: Readonly<Record<string, string>> = {},
): Promise<ProgramResult> {
  const child = spawn(process.execPath, [...args], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, ...environment },
  });
  endOnAbort(child, signal);
  let [stdout, stderr] = ['', ''];
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    stdout += text;
  });
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    context.log(text);
    stderr = (stderr + text).slice(-STDERR_MAX);
  });
  const status = await new Promise<number | null>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', resolve);
  });
  return { status, stdout, stderr };
}

/** As `runProgram`, for a program that prints a JSON object in its last line. @throws Error with the end of stderr */
export async function runForJson(
  context: RunContext,
  args: readonly string[],
  signal: AbortSignal,
  environment: Readonly<Record<string, string>> = {},
): Promise<Record<string, unknown>> {
  const { status, stdout, stderr } = await runProgram(context, args, signal, environment);
  try {
    return JSON.parse(stdout.trim().split('\n').at(-1) ?? '') as Record<string, unknown>;
  } catch {
    throw new Error(`node ${args.join(' ')} ended with ${status} and printed no result: ${stderr.trim()}`);
  }
}
