import { readFileSync } from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';
import { type Command, Option } from 'commander';
import { createEngine } from '../../engines/selection/select.js';
import { SaladError } from '../../errors/index.js';
import { typicalSide } from '../../training/data/dataset.js';
import type { PresetOptions, TrainingProgress } from '../../training/encoders/preset.js';
import type { CoresetMethod } from '../../training/fit/bank-builder.js';
import { findPreset, TRAINING_PRESETS } from '../../training/fit/presets.js';
import {
  checkpointDirectory,
  type TrainResult,
  trainBundle,
  versionDirectory,
} from '../../training/fit/train.js';
import { packageRoot } from '../../util/package-root.js';
import {
  engineOf,
  engineOption,
  MAX_TRAINING_SEED,
  MAX_VERSION,
  numberFrom,
  quoted,
  wholeNumber,
} from '../shared/flags.js';
import { createProgress, note, type Progress, print, printJson } from '../shared/output.js';

interface TrainFlags {
  readonly data: string;
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
  readonly json?: boolean;
}

export function registerTrain(program: Command): void {
  const presets = TRAINING_PRESETS.map((preset) => `  ${preset.name.padEnd(16)}${preset.description}`).join(
    '\n',
  );
  program
    .command('train')
    .description('learn a model bundle from normal radiographs')
    .requiredOption('--data <dir>', 'folder with normal/ inside, or PNG and JPEG images directly')
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
      'presets with log-Gabor filters: fainter texture does not count; more than the default 0.02 bears more noise',
      numberFrom(1e-6, 1),
    )
    .option('--no-align', 'preset gabor: take images as they lie, not aligned to their mean')
    .option(
      '--bank-rows <n>',
      "most rows of the memory bank (default: the preset's)",
      wholeNumber(1, 1_000_000),
    )
    .addOption(
      new Option('--coreset <method>', 'how the memory bank is thinned per cell')
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
    .option('--json', 'one JSON object per epoch, then {"event":"done"}')
    .addHelpText(
      'after',
      `
Presets:
${presets}

Patients: a table patients.tsv or manifest.tsv (columns path or file, patient) in --data or up to two folders
above keeps a patient's images on one side of the split; without it every image is its own patient.

Examples:
  salad train --data normals/ --out models --name mine            writes models/mine/1
  salad train --data normals/ --out models/mine/2 --seed 7        the bundle's own folder
  salad train --data normals/ --out models --name mine --resume   after an interrupt
The same command on the same files gives the same bytes.`,
    )
    .action(train);
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
    throw new SaladError('CONFIGURATION_INVALID', `${out}: a model version is at most ${MAX_VERSION}`);
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
  return words.join(' ');
}

/** Shows progress on stderr, a bar per stage, and epochs as JSON lines on stdout where asked. */
class ProgressView {
  readonly #json: boolean;
  #bar: Progress | undefined;
  #stage = '';

  constructor(json: boolean) {
    this.#json = json;
  }

  show(progress: TrainingProgress): void {
    if (progress.stage !== this.#stage) {
      this.stop();
      this.#stage = progress.stage;
      this.#bar = createProgress(progress.stage, progress.total);
    }
    const { round, epoch, losses } = progress;
    const parts = [
      round === undefined ? '' : `round ${round}`,
      epoch === undefined ? '' : `epoch ${epoch}`,
      ...Object.entries(losses ?? {}).map(([name, value]) => `${name} ${value.toFixed(4)}`),
    ];
    this.#bar?.update(progress.step, parts.filter(Boolean).join(' '));
    // Presets without epochs report each finished stage as one.
    const finished = progress.epochEnded ?? progress.step === progress.total;
    if (this.#json && finished) printJson({ event: 'epoch', ...progress });
  }

  stop(): void {
    this.#bar?.stop();
    this.#bar = undefined;
  }
}

function printResult(result: TrainResult, flags: TrainFlags): void {
  const { bundle, split, duplicates } = result;
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
    });
    return;
  }
  print(`${manifest.name}@${manifest.version} is in ${bundle.directory} (manifest SHA-256 ${bundle.sha256})`);
  print(
    `${counts.fit} images fitted, ${heldOut}, ` +
      `${duplicates} exact duplicates left out; ${manifest.bank.rows} memory-bank rows`,
  );
  print(`next: salad evaluate --model ${bundle.directory} --data TEST_DIR`);
}

async function presetOptions({ data, workingSize, textureFloor, align }: TrainFlags): Promise<PresetOptions> {
  const imageSide = await typicalSide(data);
  return {
    align,
    ...(imageSide === undefined ? {} : { imageSide }),
    ...(workingSize === undefined ? {} : { workingSize }),
    ...(textureFloor === undefined ? {} : { textureFloor }),
  };
}

async function train(flags: TrainFlags): Promise<void> {
  const target = targetOf(flags);
  const preset = findPreset(flags.preset);
  const plan = preset.plan(await presetOptions(flags));
  const { seed, bankRows, coreset } = flags;
  const engine = await createEngine(engineOf(flags.engine));
  const { version: saladServe } = JSON.parse(readFileSync(join(packageRoot(), 'package.json'), 'utf8')) as {
    version: string;
  };
  const abort = new AbortController();
  const onInterrupt = (): void => abort.abort();
  process.once('SIGINT', onInterrupt);
  const view = new ProgressView(flags.json === true);
  try {
    const result = await trainBundle({
      dataDirectory: flags.data,
      bundleDirectory: target.directory,
      name: target.name,
      version: target.version,
      description:
        flags.description ?? `${target.name}: trained on normal radiographs (preset ${preset.name}).`,
      notes: flags.note,
      preset,
      plan,
      seed,
      engine,
      ...(bankRows === undefined ? {} : { bankRows }),
      coreset,
      outlierFraction: flags.outliers,
      thresholds: {
        contamination: flags.contamination,
        strata: flags.strata === true,
      },
      validation: flags.validation ?? null,
      resume: flags.resume === true,
      command: commandLine(flags, target),
      saladServe,
      signal: abort.signal,
      onProgress: (progress) => view.show(progress),
    });
    view.stop();
    printResult(result, flags);
  } catch (error) {
    view.stop();
    if (abort.signal.aborted) note(interruptHint(target.directory));
    throw error;
  } finally {
    process.removeListener('SIGINT', onInterrupt);
    await engine.dispose();
  }
}

function interruptHint(directory: string): string {
  return `salad: interrupted; the same command with --resume continues (checkpoint, where the preset keeps one: ${checkpointDirectory(directory)})`;
}
