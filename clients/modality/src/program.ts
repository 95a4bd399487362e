import { Command } from 'commander';
import type { ProgramContext } from '../../../src/cli/shared/context.js';
import { HELP_CONFIGURATION, HELP_OUTPUT, helpText } from '../../../src/cli/shared/help.js';
import { packageVersion } from '../../../src/util/package-root.js';
import { registerChange } from './commands/change.js';
import { registerServe } from './commands/serve.js';
import { registerStatus } from './commands/status.js';

/** Creates the `salad-modality` program with all its commands. */
export function createProgram(context: ProgramContext = { environment: {} }): Command {
  const program = new Command('salad-modality')
    .description(
      'Gateway at a modality: receives DICOM instances, never loses one that it acknowledged, and scores them with ' +
        'salad-serve servers, and delivers the results to archives by STOW-RS or C-STORE. Research software; it does not ' +
        'make a diagnosis.',
    )
    .version(packageVersion())
    .configureHelp(HELP_CONFIGURATION)
    .configureOutput(HELP_OUTPUT)
    .showHelpAfterError('(add --help for options and examples)')
    .exitOverride();
  registerServe(program, context);
  registerStatus(program);
  registerChange(program);
  return program.addHelpText(
    'after',
    helpText(
      ['Exit codes: 0 success, 1 the work failed, 2 wrong usage or configuration, 130 interrupted.'],
      [
        ['salad-modality serve --config gateway.yaml', 'receive and score'],
        ['salad-modality status --config gateway.yaml', 'see what is in the inbox'],
      ],
    ),
  );
}
