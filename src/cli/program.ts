import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Command } from 'commander';
import { packageRoot } from '../util/package-root.js';
import { registerCalibrate } from './commands/calibrate.js';
import { registerConfig } from './commands/config.js';
import { registerDemo } from './commands/demo.js';
import { registerDoctor } from './commands/doctor.js';
import { registerEvaluate } from './commands/evaluate.js';
import { registerLoad } from './commands/load.js';
import { registerModels } from './commands/models.js';
import { registerPhantom } from './commands/phantom.js';
import { registerScore } from './commands/score.js';
import { registerServe } from './commands/serve.js';
import { registerTrain } from './commands/train.js';
import type { ProgramContext } from './shared/context.js';

/** The `salad` command with all its verbs. */
export function createProgram(context: ProgramContext): Command {
  const { version } = JSON.parse(readFileSync(join(packageRoot(), 'package.json'), 'utf8')) as {
    version: string;
  };
  const program = new Command('salad')
    .description(
      'Trains SALAD models on normal radiographs and serves them over gRPC: patches far from every normal\n' +
        'prototype are scored high. Research software: it ranks and highlights, it never claims a diagnosis.',
    )
    .version(version)
    // `salad --version` is ours, `salad train --version 2` is the model's.
    .enablePositionalOptions()
    .showHelpAfterError('(add --help for examples)')
    .exitOverride();
  registerServe(program, context);
  registerScore(program, context);
  registerTrain(program);
  registerEvaluate(program);
  registerCalibrate(program);
  registerModels(program);
  registerPhantom(program);
  registerLoad(program, context);
  registerDoctor(program, context);
  registerConfig(program, context);
  registerDemo(program, context);
  for (const command of program.commands) command.exitOverride();
  return program.addHelpText(
    'after',
    `
Examples:
  salad demo                                              stream a phantom with a lesion through the gRPC port
  salad serve --listen 127.0.0.1:50051                    serve the bundles under models/
  salad score chest.png --model chest-pediatric           score a file (starts an embedded server)
  salad train --data normals/ --out models --name mine    learn from your own normal images
  salad evaluate --model models/mine/1 --data test/       AUROC, false-positive rate, HTML report

Exit codes: 0 success, 1 the work failed, 2 wrong usage or configuration, 130 interrupted.`,
  );
}
