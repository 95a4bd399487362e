import { existsSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import { type Command, Option } from 'commander';
import { type Bundle, readBundle } from '../../bundle/bundle.js';
import { findBundle } from '../../bundle/repository.js';
import type { Engine } from '../../engines/engine.js';
import { createEngine } from '../../engines/selection/select.js';
import { SaladError } from '../../errors/index.js';
import {
  REQUESTED_PRECISIONS,
  type RequestedPrecision,
  supportedPrecision,
} from '../../network/precision.js';
import type { Dataset } from '../../training/data/dataset.js';
import { dataReportJson } from '../../training/data/report.js';
import { type EvaluationDetail, evaluateBundle } from '../../training/evaluate/evaluate.js';
import { evaluationReport } from '../../training/evaluate/report.js';
import {
  BOX_HEADER,
  boxRows,
  CLASS_HEADER,
  classRows,
  LOCALISATION_HEADER,
  localisationRows,
  NORMAL_HEADER,
  normalRows,
} from '../../training/evaluate/result-tables.js';
import { scoreTable } from '../../training/evaluate/score-table.js';
import {
  halfOf,
  logOpening,
  openingsFile,
  TEST_HALVES,
  type TestHalf,
} from '../../training/evaluate/test-half.js';
import { packageVersion, shippedModels } from '../../util/package-root.js';
import { type DataFlags, readData, withDataFlags } from '../shared/data-flags.js';
import { engineOption, offlineEngineOf, wholeNumber } from '../shared/flags.js';
import { helpText } from '../shared/help.js';
import { runInterruptible } from '../shared/interrupt.js';
import { createProgress, note, type Progress, print, printJson, table } from '../shared/output.js';
import { type OutputFile, prepareFiles } from '../shared/output-files.js';

interface EvaluateFlags extends DataFlags {
  readonly model: string;
  readonly models: string;
  readonly scores?: string;
  readonly report?: string;
  readonly half?: TestHalf;
  readonly halfLog?: string;
  readonly engine: string;
  readonly precision: RequestedPrecision;
  readonly top: number;
  readonly json?: boolean;
}

const HELP = helpText(
  [
    'Lesion masks in DATA/masks/<class>/<file> (or DATA/masks/<file>) add patch AUROC and pointing hits. Boxes ' +
      'in boxes.tsv (columns path, x, y, w, h in pixels; in DATA or the folder above) add the share of images ' +
      'whose top patch has its centre in a box, beside that of a random point and of one fixed place for all ' +
      'images. Images that the model was trained or calibrated on are left out of all figures and reported.',
    '--half splits the images by a hash of the patient, always in the same way: choose settings on one part ' +
      'and report the figures of the other. Each use of the report part is logged before the first image is ' +
      'scored. Without --half the use is logged if the log file already exists.',
  ],
  [
    [
      'salad evaluate --model chest-pediatric --data test/ --report evaluation.html',
      'measure a shipped model and write a report',
    ],
    [
      'salad evaluate --model phantom@1 --data phantoms/ --json --scores scores.csv',
      'figures and scores for a program',
    ],
    [
      'salad evaluate --model models/mine/1 --data test/ --half choose',
      'measure a model of your own on the part for choosing settings',
    ],
    [
      'salad evaluate --model models/learned/1 --data test/ --precision bfloat16',
      'measure a model with learned layers in another precision',
    ],
  ],
);

export function registerEvaluate(program: Command): void {
  withDataFlags(program.command('evaluate'), 'folder with normal/ and one folder per other class: see below')
    .summary('measure a model on labelled images: AUROC per class, false-positive rate')
    .description(
      'Measures a model on labelled images: AUROC per class, the false-positive rate at its thresholds, and how well ' +
        'it localises lesions.',
    )
    .requiredOption('--model <name|dir>', 'model to measure: NAME, NAME@VERSION or a bundle folder')
    .option('--models <dir>', 'folder of bundles in which NAME is looked up', shippedModels())
    .option('--scores <file.csv>', 'write one line per image: score, p-value, decision, box of the top patch')
    .option(
      '--report <file.html>',
      'write one HTML page: figures, curves, all scores, and maps of hits, misses and false alarms',
    )
    .option(
      '--top <n>',
      'number of images with maps in the report, a third each of hits, misses and false alarms',
      wholeNumber(0, 500),
      24,
    )
    .addOption(
      new Option(
        '--half <part>',
        'part of the patients to use; choose: a third, to choose settings; report: the rest, for the final figures',
      )
        .choices(TEST_HALVES)
        .default(undefined, 'all'),
    )
    .option(
      '--half-log <file>',
      'file that records each use of the report part (default: DATA.openings.jsonl)',
    )
    .addOption(engineOption('inference engine').default('auto'))
    .addOption(
      new Option('--precision <name>', 'arithmetic precision of learned encoders')
        .choices(REQUESTED_PRECISIONS)
        .default('float32'),
    )
    .option('--json', 'print one JSON object')
    .addHelpText('after', HELP)
    .action((flags: EvaluateFlags) => runInterruptible((signal) => evaluate(flags, signal)));
}

function printResult(detail: EvaluationDetail): void {
  const { evaluation } = detail;
  print(
    `${evaluation.model} on engine ${evaluation.engine} in ${evaluation.precision}: ${evaluation.normal.count} normal images, ` +
      `${evaluation.imagesPerSecond.toFixed(1)} images per second`,
  );
  const { implausible } = evaluation;
  if (implausible.normal + implausible.abnormal > 0) {
    print(
      `indeterminate, because they are of a kind that the model does not know: ${implausible.normal} normal and ` +
        `${implausible.abnormal} abnormal images; the figures below use their scores`,
    );
  }
  if (evaluation.notScored > 0)
    print(`left out: ${evaluation.notScored} images without a patch that could be scored`);
  print();
  if (Object.keys(evaluation.classes).length > 0) print(`${table(CLASS_HEADER, classRows(evaluation))}\n`);
  print(table(NORMAL_HEADER, normalRows(evaluation)));
  const localisation = localisationRows(evaluation);
  if (localisation.length > 0) print(`\n${table(LOCALISATION_HEADER, localisation)}`);
  const boxes = boxRows(evaluation);
  if (boxes.length > 0) print(`\n${table(BOX_HEADER, boxes)}`);
  if (evaluation.warnings.length > 0) print();
  for (const warning of evaluation.warnings) print(`warning: ${warning}`);
}

function outputsOf({ scores, report }: EvaluateFlags): readonly OutputFile[] {
  return [
    ...(scores === undefined ? [] : [{ flag: '--scores', path: scores, format: 'csv' } as const]),
    ...(report === undefined ? [] : [{ flag: '--report', path: report, format: 'html' } as const]),
  ];
}

/** @throws SaladError CONFIGURATION_INVALID if lines would be appended to an image of the data */
function checkNoImageIsLog({ halfLog }: EvaluateFlags, { images }: Dataset): void {
  if (halfLog && images.some(({ path }) => path === resolve(halfLog))) {
    throw new SaladError('CONFIGURATION_INVALID', `${halfLog} is an image of the data: choose another file`);
  }
}

/** Logs a use of the report part. Without --half it is logged only if a log exists already or --half-log names one. */
async function logReportUse(flags: EvaluateFlags, dataset: Dataset, bundle: Bundle): Promise<void> {
  const file = flags.halfLog ?? openingsFile(dataset.directory);
  const mustLog =
    flags.half === undefined ? flags.halfLog !== undefined || existsSync(file) : flags.half !== 'choose';
  if (!mustLog) return;
  await logOpening(file, {
    time: new Date().toISOString(),
    half: flags.half ?? 'all',
    data: dataset.directory,
    images: dataset.images.length,
    model: `${bundle.manifest.name}@${bundle.manifest.version}`,
    modelSha256: bundle.sha256,
    precision: flags.precision,
    saladServe: packageVersion(),
  });
  note(`logged the use of part ${flags.half ?? 'all'} in ${file}`);
}

async function writeOutputs(flags: EvaluateFlags, detail: EvaluationDetail, bundle: Bundle): Promise<void> {
  if (flags.scores) {
    await writeFile(flags.scores, scoreTable(detail));
    note(`scores: ${flags.scores}`);
  }
  if (flags.report) {
    await writeFile(flags.report, evaluationReport(detail, bundle, { data: flags.data }));
    note(`report: ${flags.report}`);
  }
}

async function evaluate(flags: EvaluateFlags, signal: AbortSignal): Promise<void> {
  const { top } = flags;
  const precision = supportedPrecision(flags.precision);
  const engineName = offlineEngineOf(flags.engine);
  await prepareFiles(outputsOf(flags));
  const bundle = await readBundle(await findBundle(flags.models, flags.model));
  let engine: Engine | undefined;
  let progress: Progress | undefined;
  try {
    const all = await readData(flags, 'evaluate', signal);
    checkNoImageIsLog(flags, all);
    const dataset = halfOf(all, flags.half ?? 'all');
    engine = await createEngine(engineName);
    await logReportUse(flags, dataset, bundle);
    progress = createProgress('scoring', dataset.images.length);
    const detail = await evaluateBundle({
      bundle,
      engine,
      dataset,
      precision,
      pictureCount: flags.report ? top : 0,
      signal,
      onProgress: (done) => progress?.update(done),
    });
    progress.stop();
    await writeOutputs(flags, detail, bundle);
    if (flags.json) {
      for (const warning of detail.evaluation.warnings) note(`warning: ${warning}`);
      const half = flags.half ?? 'all';
      printJson({ ...detail.evaluation, half, data: dataReportJson(all.report) });
    } else printResult(detail);
  } finally {
    progress?.stop();
    await engine?.dispose();
  }
}
