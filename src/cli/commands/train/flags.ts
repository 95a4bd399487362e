/** Flags of `salad train`, and the settings of the trainer that they determine. */
import { basename, dirname, resolve } from 'node:path';
import { type Command, Option } from 'commander';
import { SaladError } from '../../../errors/index.js';
import type { PresetOptions, PretrainedEncoder, TrainingPreset } from '../../../training/encoders/preset.js';
import type { CoresetMethod } from '../../../training/fit/bank-builder.js';
import { versionDirectory } from '../../../training/fit/output-folder.js';
import { findPreset } from '../../../training/fit/preset-registry.js';
import { type DataFlags, dataArguments } from '../../shared/data-flags.js';
import {
  engineOption,
  MAX_TRAINING_SEED,
  MAX_VERSION,
  numberFrom,
  offlineEngineOf,
  quoteForShell,
  wholeNumber,
} from '../../shared/flags.js';

export interface TrainFlags extends DataFlags {
  readonly out: string;
  readonly preset?: string;
  readonly encoder?: string;
  readonly patchSize?: number;
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

/** Adds the options of `salad train`, except those that select the data. */
export function withTrainFlags(command: Command): Command {
  return withFitFlags(withModelFlags(command))
    .option('--resume', 'continue from the checkpoint of an interrupted run')
    .option('--force', 'train even on fewer than 20 images')
    .option('--json', 'print JSON Lines: {"event":"data"}, one object per epoch, {"event":"done"}');
}

/** What the model is, where it is written, and what computes it. */
function withModelFlags(command: Command): Command {
  return command
    .requiredOption('--out <dir>', 'models folder (with --name), or the folder of the bundle itself')
    .option('--preset <name>', 'method of training, see below (default: gabor; pretrained with --encoder)')
    .option(
      '--encoder <file>',
      'preset pretrained: network whose feature maps describe patches, such as encoders/efficientnet-lite0.safetensors',
    )
    .option(
      '--patch-size <pixels>',
      'preset pretrained: side of a patch, 8 or 64 (default: 8)',
      wholeNumber(1, 4096),
    )
    .option(
      '--seed <n>',
      'seed of the data split, the coreset and the initial weights',
      wholeNumber(0, MAX_TRAINING_SEED),
      0,
    )
    .option('--name <name>', 'name of the model: writes DIR/<name>/<version>')
    .option(
      '--version <n>',
      'version of the model (default: 1, or the number in the folder name)',
      wholeNumber(1, MAX_VERSION),
    )
    .option('--description <text>', 'one sentence for the manifest and the model card')
    .option(
      '--note <text>',
      'sentence for the model card, such as source and terms of the data; repeatable',
      (text: string, earlier: string[]) => [...earlier, text],
      [] as string[],
    )
    .addOption(
      engineOption('engine that computes descriptors and scores, and trains learned presets').default('auto'),
    );
}

/** How the images are prepared, and how the memory bank and the calibration are fitted to them. */
function withFitFlags(command: Command): Command {
  return command
    .option(
      '--working-size <pixels>',
      'side of the working image (default: set by the preset; 224 for gabor)',
      wholeNumber(16, 4096),
    )
    .option(
      '--texture-floor <magnitude>',
      'presets with log-Gabor filters: weakest texture that counts; a higher value tolerates more noise (default: 0.02)',
      numberFrom(1e-6, 1),
    )
    .option('--no-align', 'presets gabor and pretrained: do not align the images to their mean image')
    .option(
      '--bank-rows <n>',
      'maximum number of rows of the memory bank (default: set by the preset)',
      wholeNumber(1, 1_000_000),
    )
    .addOption(
      new Option('--coreset <method>', 'selection of the memory-bank rows in each cell')
        .choices(['random', 'kCenter'])
        .default('random'),
    )
    .option(
      '--outliers <fraction>',
      'share of patches left out of the memory bank, the most isolated first',
      numberFrom(0, 0.49),
      0.005,
    )
    .option(
      '--validation <fraction>',
      'share of normal images held out for calibration (default: 0.2; none for gabor presets, which calibrate by ' +
        'leaving out the patients in turn)',
      numberFrom(0.01, 0.9),
    )
    .option(
      '--contamination <fraction>',
      'share of the normal images assumed to be abnormal: the highest scores are left out of the calibration',
      numberFrom(0, 0.49),
      0,
    )
    .option(
      '--strata',
      'thresholds that hold within each fifth of the normal images by field of view, sharpness and brightness; for ' +
        'images of sites that differ',
    );
}

export interface BundleTarget {
  readonly directory: string;
  readonly name: string;
  readonly version: number;
}

/** With --name, --out is a models folder. Without it, --out is the bundle, named by its path `<name>/<version>`. */
export function targetOf(flags: TrainFlags): BundleTarget {
  const out = resolve(flags.out);
  const folderName = basename(out);
  const isVersion = /^[1-9]\d*$/.test(folderName);
  const version = flags.version ?? (isVersion && !flags.name ? Number(folderName) : 1);
  if (version > MAX_VERSION) {
    throw new SaladError('CONFIGURATION_INVALID', `a version is at most ${MAX_VERSION}, not ${version}`);
  }
  const name = flags.name ?? (isVersion ? basename(dirname(out)) : folderName).toLowerCase();
  if (!/^[a-z0-9][a-z0-9-]{0,62}$/.test(name)) {
    throw new SaladError(
      'CONFIGURATION_INVALID',
      `"${name}" cannot be a model name: use lower-case letters, digits and dashes, or choose a name with --name`,
    );
  }
  return { name, version, directory: flags.name ? versionDirectory(out, name, version) : out };
}

/** The command for the model card: only the options that determine the bytes of the bundle (no --out, no --resume). */
export function commandForModelCard(flags: TrainFlags, target: BundleTarget): string {
  const words = [
    'salad',
    'train',
    '--data',
    quoteForShell(flags.data),
    '--preset',
    presetName(flags),
    '--seed',
    String(flags.seed),
  ];
  words.push('--name', target.name, '--version', String(target.version));
  if (flags.description) words.push('--description', quoteForShell(flags.description));
  for (const text of flags.note) words.push('--note', quoteForShell(text));
  if (flags.engine !== 'auto') words.push('--engine', flags.engine);
  if (flags.encoder) words.push('--encoder', quoteForShell(flags.encoder));
  if (flags.patchSize) words.push('--patch-size', String(flags.patchSize));
  if (flags.workingSize) words.push('--working-size', String(flags.workingSize));
  if (flags.textureFloor) words.push('--texture-floor', String(flags.textureFloor));
  if (!flags.align) words.push('--no-align');
  if (flags.bankRows) words.push('--bank-rows', String(flags.bankRows));
  if (flags.coreset !== 'random') words.push('--coreset', flags.coreset);
  if (flags.outliers !== 0.005) words.push('--outliers', String(flags.outliers));
  if (flags.validation !== undefined) words.push('--validation', String(flags.validation));
  if (flags.contamination !== 0) words.push('--contamination', String(flags.contamination));
  if (flags.strata) words.push('--strata');
  words.push(...dataArguments(flags));
  if (flags.force) words.push('--force');
  return words.join(' ');
}

export function presetOptions(
  { workingSize, textureFloor, align, patchSize }: TrainFlags,
  encoder: PretrainedEncoder | undefined,
  imageSide: number | undefined,
): PresetOptions {
  return {
    align,
    ...(encoder === undefined ? {} : { encoder }),
    ...(patchSize === undefined ? {} : { patchSize }),
    ...(imageSide === undefined ? {} : { imageSide }),
    ...(workingSize === undefined ? {} : { workingSize }),
    ...(textureFloor === undefined ? {} : { textureFloor }),
  };
}

const PRETRAINED = 'pretrained';

function presetName({ preset, encoder }: TrainFlags): string {
  return preset ?? (encoder === undefined ? 'gabor' : PRETRAINED);
}

/** @throws SaladError CONFIGURATION_INVALID for an unknown preset, and for flags of another one */
function checkedPreset(flags: TrainFlags): TrainingPreset {
  const preset = findPreset(presetName(flags));
  if (preset.name !== PRETRAINED && (flags.encoder !== undefined || flags.patchSize !== undefined)) {
    throw new SaladError(
      'CONFIGURATION_INVALID',
      `--encoder and --patch-size belong to preset ${PRETRAINED}, not to ${preset.name}`,
    );
  }
  return preset;
}

/** Converts the flags to settings of the trainer; throws for a wrong flag before any data is read. */
export function settingsOf(flags: TrainFlags) {
  const { bankRows, coreset, contamination, seed } = flags;
  return {
    preset: checkedPreset(flags),
    seed,
    outlierFraction: flags.outliers,
    validation: flags.validation ?? null,
    coreset,
    ...(bankRows === undefined ? {} : { bankRows }),
    thresholds: { contamination, strata: flags.strata === true },
    engineName: offlineEngineOf(flags.engine),
    resume: flags.resume === true,
    force: flags.force === true,
  };
}
