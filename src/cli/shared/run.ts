import { type Command, CommanderError } from 'commander';
import { exitCodeFor, reportFailure } from './failure.js';
import { EXIT, printJson } from './output.js';

/** Parses the arguments and runs the command; every failure becomes one message and an exit code (0, 1, 2 or 130). */
export async function runProgram(program: Command, argv: readonly string[]): Promise<number> {
  const json = argv.includes('--json');
  try {
    await program.parseAsync([...argv]);
    return typeof process.exitCode === 'number' ? process.exitCode : EXIT.success;
  } catch (error) {
    if (error instanceof CommanderError) {
      if (error.exitCode === 0) return EXIT.success;
      // Commander has already printed the human-readable message on stderr.
      if (json) printUsageError(error);
      return EXIT.usage;
    }
    reportFailure(error, json);
    return exitCodeFor(error);
  }
}

function printUsageError({ message }: CommanderError): void {
  const text = message.replace(/^error: /, '');
  printJson({ event: 'error', status: null, reason: 'CONFIGURATION_INVALID', message: text });
}
