import { existsSync } from 'node:fs';
import { basename, dirname, resolve } from 'node:path';
import { type Command, Option } from 'commander';
import type { Engine } from '../../engines/engine.js';
import { createEngine } from '../../engines/selection/select.js';
import { SaladError } from '../../errors/index.js';
import { calibrationWarnings } from '../../scoring/calibration-warnings.js';
import { type Dataset, medianShorterSide } from '../../training/data/dataset.js';
import { dataReportJson } from '../../training/data/report.js';
import type { PresetOptions } from '../../training/encoders/preset.js';
import type { CoresetMethod } from '../../training/fit/bank-builder.js';
import {
  checkpointDirectory,
  reserveBundleFolder,
  versionDirectory,
} from '../../training/fit/output-folder.js';
import { findPreset, TRAINING_PRESETS } from '../../training/fit/preset-registry.js';
import { type TrainResult, trainBundle } from '../../training/fit/train.js';
import { packageVersion } from '../../util/package-root.js';
import { type DataFlags, dataWords, readData, withDataFlags } from '../shared/data-flags.js';
import {
  engineOf,
  engineOption,
  MAX_TRAINING_SEED,
  MAX_VERSION,
  numberFrom,
  quoted,
  wholeNumber,
} from '../shared/flags.js';
import { untilInterrupted } from '../shared/interrupt.js';
import { note, print, printJson } from '../shared/output.js';
import { TrainingProgressView } from './train-progress.js';

interface TrainFlags extends DataFlags {
  readonly out: string;
  readonly preset: string;
  readonly seed: number;
  readonly name?: string;
  readonly version?: number;
  readonly description?: string;
  readonly note: readonly string[];
  readonly engine: string;
  readonly workingSize?: number;
  readonly textureFloor?: number;
  readonly align: boolean;
  readonly bankRows?: number;
  readonly coreset: CoresetMethod;
  readonly outliers: number;
  readonly contamination: number;
  readonly strata?: boolean;
  readonly validation?: number;
  readonly resume?: boolean;
  readonly force?: boolean;
  readonly json?: boolean;
}

export function registerTrain(program: Command): void {
  const presets = TRAINING_PRESETS.map((preset) => `  ${preset.name.padEnd(16)}${preset.description}`).join(
    '\n',
  );
  withDataFlags(program.command('train'), 'folder of normal images, directly or in normal/: see below')
    .description('learn a model bundle from normal radiographs')
    .requiredOption('--out <dir>', "models folder (with --name), else the bundle's own folder")
    .option('--preset <name>', 'how to train, see below', 'gabor')
    .option(
      '--seed <n>',
      'split, thinning and initial weights follow it',
      wholeNumber(0, MAX_TRAINING_SEED),
      0,
    )
    .option('--name <name>', 'model name: writes DIR/<name>/<version>')
    .option(
      '--version <n>',
      'model version (default: 1, or the number the folder is named by)',
      wholeNumber(1, MAX_VERSION),
    )
    .option('--description <text>', 'one sentence for the manifest and the model card')
    .option(
      '--note <text>',
      'a sentence for the model card, such as source and terms of the data; may be given again',
      (text: string, before: string[]) => [...before, text],
      [] as string[],
    )
    .addOption(engineOption('computes descriptors and scores, trains learned presets').default('auto'))
    .option(
      '--working-size <pixels>',
      "side of the working image (default: the preset's; 224 for gabor)",
      wholeNumber(16, 4096),
    )
    .option(
      '--texture-floor <magnitude>',
      'presets with log-Gabor filters: fainter texture does not count; more than the default 0.02 tolerates more noise',
      numberFrom(1e-6, 1),
    )
    .option('--no-align', 'preset gabor: take images as they lie, not aligned to their mean')
    .option(
      '--bank-rows <n>',
      "most rows of the memory bank (default: the preset's)",
      wholeNumber(1, 1_000_000),
    )
    .addOption(
      new Option('--coreset <method>', 'how the memory bank is thinned in each cell')
        .choices(['random', 'kCenter'])
        .default('random'),
    )
    .option(
      '--outliers <fraction>',
      'most isolated patches left out of the memory bank',
      numberFrom(0, 0.49),
      0.005,
    )
    .option(
      '--validation <fraction>',
      'normal images held out for calibration (default: none for gabor presets, which calibrate by leaving patients out in turn; else 0.2)',
      numberFrom(0.01, 0.9),
    )
    .option(
      '--contamination <fraction>',
      'share of the normals held not to be normal: the highest scores are left out of the calibration',
      numberFrom(0, 0.49),
      0,
    )
    .option(
      '--strata',
      'thresholds that hold in every fifth of the normals by field of view, sharpness and brightness, for sites unlike',
    )
    .option('--resume', 'continue from the checkpoint of an interrupted run')
    .option('--force', 'train on fewer than 20 images all the same')
    .option('--json', '{"event":"data"}, one JSON object per epoch, then {"event":"done"}')
    .addHelpText(
      'after',
      `
Presets:
${presets}

A bundle is never overwritten: give another --version. An interrupted run of a
learned preset leaves a checkpoint beside the bundle's folder; --resume continues
it, and is refused where there is none.

Examples:
  salad train --data normals/ --out models --name mine            writes models/mine/1
  salad train --data normals/ --out models/mine/2 --seed 7        the bundle's own folder
  salad train --data normals/ --out models --name mine --resume   after an interrupt
The same command on the same files gives the same bytes.`,
    )
    .action((flags: TrainFlags) => untilInterrupted((signal) => train(flags, signal)));
}

interface Target {
  readonly directory: string;
  readonly name: string;
  readonly version: number;
}

/** With --name DIR is a models folder; else DIR is the bundle, named by its path `<name>/<version>`. */
function targetOf(flags: TrainFlags): Target {
  const out = resolve(flags.out);
  const last = basename(out);
  const isVersion = /^[1-9]\d*$/.test(last);
  const version = flags.version ?? (isVersion && !flags.name ? Number(last) : 1);
  if (version > MAX_VERSION) {
    throw new SaladError('CONFIGURATION_INVALID', `a version is at most ${MAX_VERSION}, not ${version}`);
  }
  const name = flags.name ?? (isVersion ? basename(dirname(out)) : last).toLowerCase();
  if (!/^[a-z0-9][a-z0-9-]{0,62}$/.test(name)) {
    throw new SaladError(
      'CONFIGURATION_INVALID',
      `"${name}" cannot be a model name (small letters, digits, dashes): give one with --name`,
    );
  }
  return { name, version, directory: flags.name ? versionDirectory(out, name, version) : out };
}

/** The command for the model card: what decides the bytes, and nothing else (no --out, no --resume). */
function commandLine(flags: TrainFlags, target: Target): string {
  const words = [
    'salad',
    'train',
    '--data',
    quoted(flags.data),
    '--preset',
    flags.preset,
    '--seed',
    String(flags.seed),
  ];
  words.push('--name', target.name, '--version', String(target.version));
  if (flags.description) words.push('--description', quoted(flags.description));
  for (const text of flags.note) words.push('--note', quoted(text));
  if (flags.engine !== 'auto') words.push('--engine', flags.engine);
  if (flags.workingSize) words.push('--working-size', String(flags.workingSize));
  if (flags.textureFloor) words.push('--texture-floor', String(flags.textureFloor));
  if (!flags.align) words.push('--no-align');
  if (flags.bankRows) words.push('--bank-rows', String(flags.bankRows));
  if (flags.coreset !== 'random') words.push('--coreset', flags.coreset);
  if (flags.outliers !== 0.005) words.push('--outliers', String(flags.outliers));
  if (flags.validation !== undefined) words.push('--validation', String(flags.validation));
  if (flags.contamination !== 0) words.push('--contamination', String(flags.contamination));
  if (flags.strata) words.push('--strata');
  words.push(...dataWords(flags));
  if (flags.force) words.push('--force');
  return words.join(' ');
}

function printResult(result: TrainResult, flags: TrainFlags, dataset: Dataset): void {
  const { bundle, split, duplicates } = result;
  const warnings = calibrationWarnings(bundle.manifest.calibration);
  const { manifest } = bundle;
  const counts = {
    fit: split.fit.length,
    calibrationA: split.calibrationA.length,
    calibrationB: split.calibrationB.length,
    duplicates,
  };
  const heldOut =
    counts.calibrationB === 0
      ? 'calibrated on all of them, each without its patient'
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
  print(`${manifest.name}@${manifest.version} is in ${bundle.directory} (manifest SHA-256 ${bundle.sha256})`);
  print(
    `${counts.fit} images fitted, ${heldOut}, ` +
      `${duplicates} exact duplicates left out; ${manifest.bank.rows} memory-bank rows`,
  );
  for (const warning of warnings) print(`warning: ${warning}`);
  print(`next: salad evaluate --model ${bundle.directory} --data TEST_DIR`);
}

function presetOptions(
  { workingSize, textureFloor, align }: TrainFlags,
  imageSide: number | undefined,
): PresetOptions {
  return {
    align,
    ...(imageSide === undefined ? {} : { imageSide }),
    ...(workingSize === undefined ? {} : { workingSize }),
    ...(textureFloor === undefined ? {} : { textureFloor }),
  };
}

/** What the flags say, checked before anything is read. */
function settingsOf(flags: TrainFlags) {
  const { bankRows, coreset, contamination, seed } = flags;
  return {
    preset: findPreset(flags.preset),
    seed,
    outlierFraction: flags.outliers,
    validation: flags.validation ?? null,
    coreset,
    ...(bankRows === undefined ? {} : { bankRows }),
    thresholds: { contamination, strata: flags.strata === true },
    engineName: engineOf(flags.engine),
    resume: flags.resume === true,
    force: flags.force === true,
  };
}

async function train(flags: TrainFlags, signal: AbortSignal): Promise<void> {
  const target = targetOf(flags);
  const { engineName, ...settings } = settingsOf(flags);
  const { preset } = settings;
  // Wrong sizes are told before the data is read; the images' own size may choose another plan.
  preset.plan(presetOptions(flags, undefined));
  const view = new TrainingProgressView(flags.json === true);
  const release = await reserveBundleFolder(target.directory, { resume: settings.resume });
  let engine: Engine | undefined;
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
      plan: preset.plan(presetOptions(flags, medianShorterSide(dataset.images))),
      engine,
      command: commandLine(flags, target),
      saladServe: packageVersion(),
      signal,
      onProgress: (progress) => view.show(progress),
      onWarning: (warning) => note(`warning: ${warning}`),
    });
    view.stop();
    printResult(result, flags, dataset);
  } catch (error) {
    view.stop();
    if (signal.aborted) note(interruptHint(target.directory));
    throw error;
  } finally {
    release();
    await engine?.dispose();
  }
}

function interruptHint(directory: string): string {
  return existsSync(checkpointDirectory(directory))
    ? `salad: interrupted; the same command with --resume continues from ${checkpointDirectory(directory)}`
    : 'salad: interrupted; nothing was kept: the run had no checkpoint yet, or its preset keeps none';
}
