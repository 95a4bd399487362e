import { existsSync } from 'node:fs';
import type { Command } from 'commander';
import type { Engine } from '../../engines/engine.js';
import { createEngine } from '../../engines/selection/select.js';
import { calibrationWarnings } from '../../scoring/calibration-warnings.js';
import { type Dataset, medianShorterSide } from '../../training/data/dataset.js';
import { dataReportJson } from '../../training/data/report.js';
import { readEncoderFile } from '../../training/encoders/pretrained/encoder-file.js';
import { checkpointDirectory, reserveBundleFolder } from '../../training/fit/output-folder.js';
import { TRAINING_PRESETS } from '../../training/fit/preset-registry.js';
import { type TrainResult, trainBundle } from '../../training/fit/train.js';
import { packageVersion } from '../../util/package-root.js';
import { readData, withDataFlags } from '../shared/data-flags.js';
import { helpText } from '../shared/help.js';
import { runInterruptible } from '../shared/interrupt.js';
import { note, print, printJson } from '../shared/output.js';
import {
  commandForModelCard,
  presetOptions,
  settingsOf,
  type TrainFlags,
  targetOf,
  withTrainFlags,
} from './train-flags.js';
import { TrainingProgressView } from './train-progress.js';

export function registerTrain(program: Command): void {
  const presets = TRAINING_PRESETS.map((preset) => `  ${preset.name.padEnd(16)}${preset.description}`).join(
    '\n',
  );
  const command = program.command('train');
  withTrainFlags(withDataFlags(command, 'folder of normal images, directly or in normal/: see below'))
    .summary('train a model on normal radiographs')
    .description('Trains a model on normal radiographs and writes it as a bundle.')
    .addHelpText(
      'after',
      helpText(
        [
          `Presets:\n${presets}`,
          'A bundle is never overwritten: choose another --version. An interrupted run of a learned preset leaves a ' +
            'checkpoint next to the folder of the bundle; --resume continues it, and is refused without a ' +
            'checkpoint. The same command on the same files gives the same bytes.',
        ],
        [
          ['salad train --data normals/ --out models --name mine', 'write the model to models/mine/1'],
          [
            'salad train --data normals/ --out models/mine/2 --seed 7',
            'name the folder of the bundle directly',
          ],
          [
            'salad train --data normals/ --out models/mine/1 --encoder net.safetensors',
            'describe patches by a pretrained network too',
          ],
          ['salad train --data normals/ --out models --name mine --resume', 'continue after an interrupt'],
        ],
      ),
    )
    .action((flags: TrainFlags) => runInterruptible((signal) => train(flags, signal)));
}

/** @param noted warnings that are on stderr already */
function printResult(
  result: TrainResult,
  flags: TrainFlags,
  dataset: Dataset,
  noted: ReadonlySet<string>,
): void {
  const { bundle, split, duplicates } = result;
  const warnings = calibrationWarnings(bundle.manifest.calibration);
  const { manifest } = bundle;
  const counts = {
    fit: split.fit.length,
    calibrationA: split.calibrationA.length,
    calibrationB: split.calibrationB.length,
    duplicates,
  };
  const calibrationText =
    counts.calibrationB === 0
      ? 'calibrated on all of them, each without the images of its patient'
      : `${counts.calibrationA} + ${counts.calibrationB} held out for calibration`;
  if (flags.json) {
    printJson({
      event: 'done',
      bundle: bundle.directory,
      hash: bundle.sha256,
      model: `${manifest.name}@${manifest.version}`,
      images: counts,
      bankRows: manifest.bank.rows,
      data: dataReportJson(dataset.report),
      warnings,
    });
    return;
  }
  print(
    `wrote ${manifest.name}@${manifest.version} to ${bundle.directory} (SHA-256 of the manifest ${bundle.sha256})`,
  );
  print(
    `${counts.fit} images fitted, ${calibrationText}, ` +
      `${duplicates} exact duplicates left out; ${manifest.bank.rows} memory-bank rows`,
  );
  for (const warning of warnings) if (!noted.has(warning)) print(`warning: ${warning}`);
  print(`next: salad evaluate --model ${bundle.directory} --data TEST_DIR`);
}

async function train(flags: TrainFlags, signal: AbortSignal): Promise<void> {
  const target = targetOf(flags);
  const { engineName, ...settings } = settingsOf(flags);
  const { preset } = settings;
  // Reports a wrong size before the data is read. The plan is made again below, because it may depend on the image size.
  const encoder = flags.encoder === undefined ? undefined : await readEncoderFile(flags.encoder);
  preset.plan(presetOptions(flags, encoder, undefined));
  const view = new TrainingProgressView(flags.json === true);
  const unlockFolder = await reserveBundleFolder(target.directory, { resume: settings.resume });
  let engine: Engine | undefined;
  const noted = new Set<string>();
  try {
    const dataset = await readData(flags, 'train', signal);
    if (flags.json) printJson({ event: 'data', ...dataReportJson(dataset.report) });
    engine = await createEngine(engineName);
    const result = await trainBundle({
      ...settings,
      dataset,
      bundleDirectory: target.directory,
      name: target.name,
      version: target.version,
      description:
        flags.description ?? `${target.name}: trained on normal radiographs (preset ${preset.name}).`,
      notes: flags.note,
      plan: preset.plan(presetOptions(flags, encoder, medianShorterSide(dataset.images))),
      engine,
      command: commandForModelCard(flags, target),
      saladServe: packageVersion(),
      signal,
      onProgress: (progress) => view.show(progress),
      onWarning(warning) {
        if (!noted.has(warning)) note(`warning: ${warning}`);
        noted.add(warning);
      },
    });
    view.stop();
    printResult(result, flags, dataset, noted);
  } catch (error) {
    view.stop();
    if (signal.aborted) note(interruptHint(target.directory));
    throw error;
  } finally {
    unlockFolder();
    await engine?.dispose();
  }
}

function interruptHint(directory: string): string {
  return existsSync(checkpointDirectory(directory))
    ? `salad: interrupted; run the same command with --resume to continue from ${checkpointDirectory(directory)}`
    : 'salad: interrupted; nothing was saved, because the run had no checkpoint yet or its preset has none';
}
