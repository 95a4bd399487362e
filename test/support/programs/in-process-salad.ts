/** Runs the salad command in this process, with its argument parser, commands and exit codes. */
import type { Finished } from './salad.js';

/** Runs one command to its end. Other tests must not write to stdout or stderr at the same time. */
export async function runSalad(...args: readonly string[]): Promise<Finished> {
  const texts = { stdout: '', stderr: '' };
  const restore = (['stdout', 'stderr'] as const).map((name) => {
    const stream = process[name];
    const write = stream.write;
    stream.write = ((chunk: string | Uint8Array) => {
      texts[name] += typeof chunk === 'string' ? chunk : new TextDecoder().decode(chunk);
      return true;
    }) as typeof stream.write;
    return () => {
      stream.write = write;
    };
  });
  const previousExitCode = process.exitCode;
  process.exitCode = undefined;
  try {
    // As in main.ts: modules that are imported in both ways would be loaded twice by the loader of the tests.
    const { createProgram } = await import('../../../src/cli/program.js');
    const { runProgram } = await import('../../../src/cli/shared/run.js');
    const program = await createProgram({ environment: {} }, args[0]);
    const code = await runProgram(program, ['node', 'salad', ...args]);
    const lines = texts.stdout
      .split('\n')
      .filter((line) => line.startsWith('{'))
      .map((line) => JSON.parse(line) as Record<string, unknown>);
    return { code, ...texts, lines };
  } finally {
    process.exitCode = previousExitCode;
    for (const restoreStream of restore) restoreStream();
  }
}
