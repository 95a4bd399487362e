import { Command } from 'commander';
import { packageVersion } from '../util/package-root.js';
import { registerCalibrate } from './commands/calibrate.js';
import { registerConfig } from './commands/config.js';
import { registerDemo } from './commands/demo/demo.js';
import { registerDicom } from './commands/dicom/dicom.js';
import { registerDoctor } from './commands/doctor/doctor.js';
import { registerEvaluate } from './commands/evaluate.js';
import { registerLoad } from './commands/load/load.js';
import { registerModels } from './commands/models/models.js';
import { registerPhantom } from './commands/phantom.js';
import { registerScore } from './commands/score/score.js';
import { registerServe } from './commands/serve.js';
import { registerTrain } from './commands/train/train.js';
import type { ProgramContext } from './shared/context.js';
import { HELP_CONFIGURATION, HELP_OUTPUT, helpText } from './shared/help.js';

/** Creates the `salad` program with all its commands. */
export function createProgram(context: ProgramContext): Command {
  const program = new Command('salad')
    .description(
      'Detects anomalies in X-ray images. It trains models on normal images only, serves them over gRPC, and scores ' +
        'how much an image, and each patch of it, differs from normal images. Research software: it ranks and ' +
        'highlights; it does not make a diagnosis.',
    )
    .version(packageVersion())
    // `salad --version` prints the version of the program; `salad train --version 2` sets the version of the model.
    .enablePositionalOptions()
    .configureHelp(HELP_CONFIGURATION)
    .configureOutput(HELP_OUTPUT)
    .showHelpAfterError('(add --help for options and examples)')
    .exitOverride();
  registerDemo(program, context);
  registerScore(program, context);
  registerServe(program, context);
  registerTrain(program);
  registerEvaluate(program);
  registerCalibrate(program);
  registerModels(program, context);
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
        ['salad demo', 'score a synthetic image'],
        ['salad score chest.png --model chest-pediatric', 'score an image with a shipped model'],
        ['salad serve --listen 127.0.0.1:50051', 'serve the shipped models to other programs'],
        ['salad train --data normals/ --out models --name mine', 'train a model on your own normal images'],
        ['salad evaluate --model models/mine/1 --data test/', 'measure the trained model on labelled images'],
      ],
    ),
  );
}
