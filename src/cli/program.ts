import { Command } from 'commander';
import { packageVersion } from '../util/package-root.js';
import type { ProgramContext } from './shared/context.js';
import { HELP_CONFIGURATION, HELP_OUTPUT, helpText } from './shared/help.js';

type Register = (program: Command, context: ProgramContext) => void;

/** The commands in the order of the help. Loading the modules of all of them takes longer than most commands. */
const COMMANDS: Readonly<Record<string, () => Promise<Register>>> = {
  demo: async () => (await import('./commands/demo/demo.js')).registerDemo,
  score: async () => (await import('./commands/score/score.js')).registerScore,
  serve: async () => (await import('./commands/serve.js')).registerServe,
  train: async () => (await import('./commands/train/train.js')).registerTrain,
  evaluate: async () => (await import('./commands/evaluate.js')).registerEvaluate,
  calibrate: async () => (await import('./commands/calibrate.js')).registerCalibrate,
  models: async () => (await import('./commands/models/models.js')).registerModels,
  dicom: async () => (await import('./commands/dicom/dicom.js')).registerDicom,
  phantom: async () => (await import('./commands/phantom.js')).registerPhantom,
  load: async () => (await import('./commands/load/load.js')).registerLoad,
  doctor: async () => (await import('./commands/doctor/doctor.js')).registerDoctor,
  config: async () => (await import('./commands/config.js')).registerConfig,
};

/**
 * Creates the `salad` program.
 * @param name the only command to load, where it is one; by default all, as the help of the program needs them
 */
export async function createProgram(context: ProgramContext, name = ''): Promise<Command> {
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
  const loads = Object.hasOwn(COMMANDS, name) ? [COMMANDS[name]!] : Object.values(COMMANDS);
  for (const register of await Promise.all(loads.map((load) => load()))) register(program, context);
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
