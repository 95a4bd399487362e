import type { Command } from 'commander';
import { readBundle } from '../../bundle/bundle.js';
import { findBundle } from '../../bundle/repository.js';
import type { Engine } from '../../engines/engine.js';
import { createEngine } from '../../engines/selection/select.js';
import type { Dataset } from '../../training/data/dataset.js';
import { dataReportJson } from '../../training/data/report.js';
import { CHECKED_RATES } from '../../training/evaluate/figures.js';
import { type RecalibrateResult, recalibrateBundle } from '../../training/evaluate/recalibrate.js';
import { reserveBundleFolder, versionDirectory } from '../../training/fit/output-folder.js';
import { shippedModels } from '../../util/package-root.js';
import { type DataFlags, dataArguments, readData, withDataFlags } from '../shared/data-flags.js';
import {
  engineOption,
  MAX_TRAINING_SEED,
  MAX_VERSION,
  offlineEngineOf,
  quoteForShell,
  wholeNumber,
} from '../shared/flags.js';
import { helpText } from '../shared/help.js';
import { runInterruptible } from '../shared/interrupt.js';
import { createProgress, note, type Progress, print, printJson } from '../shared/output.js';

interface CalibrateFlags extends DataFlags {
  readonly model: string;
  readonly models: string;
  readonly out: string;
  readonly version?: number;
  readonly seed: number;
  readonly engine: string;
  readonly json?: boolean;
}

export function registerCalibrate(program: Command): void {
  withDataFlags(program.command('calibrate'), 'folder of normal images, directly or in normal/: see below')
    .summary('compute new thresholds for a model from normal images of your site')
    .description(
      'Computes new thresholds for a model from normal radiographs of your own site, and writes them as a new version ' +
        'of the model.',
    )
    .requiredOption('--model <name|dir>', 'model to calibrate: NAME, NAME@VERSION or a bundle folder')
    .requiredOption('--out <dir>', 'models folder: writes DIR/<name>/<version>')
    .option('--models <dir>', 'folder of bundles in which NAME is looked up', shippedModels())
    .option(
      '--version <n>',
      'version number to write (default: version of the model + 1)',
      wholeNumber(1, MAX_VERSION),
    )
    .option(
      '--seed <n>',
      'seed of the split into two halves, which needs 200 images',
      wholeNumber(0, MAX_TRAINING_SEED),
      0,
    )
    .addOption(engineOption('inference engine').default('auto'))
    .option('--json', 'print one JSON object')
    .addHelpText(
      'after',
      helpText(
        [
          'A threshold keeps its promised false-positive rate only for normal images like those it was calibrated on. ' +
            'Calibrate again for another site or device, or when the log warns that recent images score unlike the ' +
            'calibration images. 19 normal images are the minimum; a rate of 1 % needs 99. From 200 on, half of them ' +
            'also replace the statistics of normal scores at each position of the image.',
          'Images that the model was trained on are left out and reported, because their scores are too low. An ' +
            'existing version is never overwritten. The encoder and the memory bank do not change: if your normal ' +
            'images look very different, train a new model instead.',
        ],
        [
          [
            'salad calibrate --model chest-adult --data normals/ --out models',
            'writes version 3 to models/chest-adult/3',
          ],
          [
            'salad evaluate --model models/chest-adult/3 --data test/',
            'then measure the false-positive rate on other images',
          ],
        ],
      ),
    )
    .action((flags: CalibrateFlags) => runInterruptible((signal) => calibrate(flags, signal)));
}

const percent = (share: number): string => `${(100 * share).toFixed(1)} %`;

function printResult({ bundle, images, patchTables, flaggedBefore, warnings }: RecalibrateResult): void {
  const { manifest, directory } = bundle;
  print(
    `wrote ${manifest.name}@${manifest.version} to ${directory}: thresholds from ${images} normal images` +
      (patchTables === 'refitted' ? ', statistics of each position from half of them' : ''),
  );
  for (const rate of CHECKED_RATES) {
    const share = flaggedBefore[rate];
    if (share === null) continue;
    print(
      `the old thresholds would have flagged ${percent(share)} of them at a promised rate of ${percent(Number(rate))}`,
    );
  }
  for (const warning of warnings) print(`warning: ${warning}`);
  print(`next: salad evaluate --model ${directory} --data TEST_DIR`);
}

function printJsonResult(result: RecalibrateResult, model: string, dataset: Dataset): void {
  const { bundle, images, trainingImages, overlapCheck, patchTables, flaggedBefore, warnings } = result;
  for (const warning of warnings) note(`warning: ${warning}`);
  printJson({
    bundle: bundle.directory,
    model,
    hash: bundle.sha256,
    images,
    trainingImages: {
      count: trainingImages.length,
      check: overlapCheck,
      first: trainingImages.slice(0, 10),
    },
    patchTables,
    flaggedBefore,
    data: dataReportJson(dataset.report),
    warnings,
  });
}

/** Reports on stderr the training images that were left out, and whether they could be recognised. */
function noteTrainingImages({ trainingImages, overlapCheck }: RecalibrateResult): void {
  if (trainingImages.length > 0) {
    note(
      `left out: ${trainingImages.length} images that the bundle was trained on (${trainingImages.slice(0, 3).join(', ')}` +
        `${trainingImages.length > 3 ? ', ...' : ''})`,
    );
  }
  if (overlapCheck === 'none') {
    note(
      'warning: the bundle has no hashes of its training images, so they cannot be left out: use images of other patients',
    );
  }
}

async function calibrate(flags: CalibrateFlags, signal: AbortSignal): Promise<void> {
  const engineName = offlineEngineOf(flags.engine);
  const { seed } = flags;
  const bundle = await readBundle(await findBundle(flags.models, flags.model));
  const { name, version: oldVersion } = bundle.manifest;
  const version = flags.version ?? oldVersion + 1;
  const bundleDirectory = versionDirectory(flags.out, name, version);
  const unlockFolder = await reserveBundleFolder(bundleDirectory);
  const command = [
    'salad calibrate',
    '--model',
    `${name}@${oldVersion}`,
    '--data',
    quoteForShell(flags.data),
  ];
  command.push(...dataArguments(flags), '--seed', String(seed), '--version', String(version));
  let engine: Engine | undefined;
  let progress: Progress | undefined;
  try {
    const dataset = await readData(flags, 'calibrate', signal);
    engine = await createEngine(engineName);
    const result = await recalibrateBundle({
      bundle,
      engine,
      dataset,
      bundleDirectory,
      version,
      seed,
      command: command.join(' '),
      signal,
      onProgress: (done, total) => {
        progress ??= createProgress('scoring normal images', total);
        progress.update(done);
      },
    });
    progress?.stop();
    noteTrainingImages(result);
    if (flags.json) printJsonResult(result, `${name}@${version}`, dataset);
    else printResult(result);
  } finally {
    progress?.stop();
    unlockFolder();
    await engine?.dispose();
  }
}
