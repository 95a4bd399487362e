import { type Command, CommanderError } from 'commander';
import { SaladError } from '../../errors/index.js';
import { EXIT, exitCodeFor, note, printJson } from './output.js';

/** Parses and runs; every failure becomes one clear message and an exit code (0, 1, 2 or 130). */
export async function runProgram(program: Command, argv: readonly string[]): Promise<number> {
  try {
    await program.parseAsync([...argv]);
    return typeof process.exitCode === 'number' ? process.exitCode : EXIT.success;
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT.success : EXIT.usage;
    reportFailure(error, argv.includes('--json'));
    return exitCodeFor(error);
  }
}

function reportFailure(error: unknown, json: boolean): void {
  const known = SaladError.from(error);
  if (json) printJson({ event: 'error', reason: known.reason, message: known.message });
  note(`salad: ${known.message}`);
  // An unexpected failure is our bug: its stack is what a report needs.
  if (known.reason === 'INTERNAL' && error instanceof Error && error.stack) note(error.stack);
}
