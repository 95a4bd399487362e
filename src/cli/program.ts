import { Command } from 'commander';
import { packageVersion } from '../util/package-root.js';
import { registerCalibrate } from './commands/calibrate.js';
import { registerConfig } from './commands/config.js';
import { registerDemo } from './commands/demo.js';
import { registerDicom } from './commands/dicom.js';
import { registerDoctor } from './commands/doctor.js';
import { registerEvaluate } from './commands/evaluate.js';
import { registerLoad } from './commands/load.js';
import { registerModels } from './commands/models.js';
import { registerPhantom } from './commands/phantom.js';
import { registerScore } from './commands/score.js';
import { registerServe } from './commands/serve.js';
import { registerTrain } from './commands/train.js';
import type { ProgramContext } from './shared/context.js';
import { HELP_CONFIGURATION, HELP_OUTPUT, helpText } from './shared/help.js';

/** The `salad` command with all its verbs. */
export function createProgram(context: ProgramContext): Command {
  const program = new Command('salad')
    .description(
      'Finds what is unusual in X-ray images: it learns from normal images alone, serves the learned models over ' +
        'gRPC, and scores how unlike the normal ones an image and each patch of it is. Research software: it ranks ' +
        'and highlights, it never claims a diagnosis.',
    )
    .version(packageVersion())
    // `salad --version` is ours, `salad train --version 2` is the model's.
    .enablePositionalOptions()
    .configureHelp(HELP_CONFIGURATION)
    .configureOutput(HELP_OUTPUT)
    .showHelpAfterError('(add --help for examples)')
    .exitOverride();
  registerDemo(program, context);
  registerScore(program, context);
  registerServe(program, context);
  registerTrain(program);
  registerEvaluate(program);
  registerCalibrate(program);
  registerModels(program);
  registerDicom(program);
  registerPhantom(program);
  registerLoad(program, context);
  registerDoctor(program, context);
  registerConfig(program, context);
  return program.addHelpText(
    'after',
    helpText(
      ['Exit codes: 0 success, 1 the work failed, 2 wrong usage or configuration, 130 interrupted.'],
      [
        ['salad demo', 'see it work on a synthetic image'],
        ['salad score chest.png --model chest-pediatric', 'score an image with a shipped model'],
        ['salad serve --listen 127.0.0.1:50051', 'serve the shipped models to other programs'],
        ['salad train --data normals/ --out models --name mine', 'learn from normal images of your own'],
        ['salad evaluate --model models/mine/1 --data test/', 'measure what was learned'],
      ],
    ),
  );
}
