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
import {
  BOX_HEADER,
  boxRows,
  CLASS_HEADER,
  classRows,
  evaluationReport,
  LOCALISATION_HEADER,
  localisationRows,
  NORMAL_HEADER,
  normalRows,
} from '../../training/evaluate/report.js';
import { scoreTable } from '../../training/evaluate/score-table.js';
import {
  halfOf,
  logOpening,
  openingsFile,
  TEST_HALVES,
  type TestHalf,
} from '../../training/evaluate/test-half.js';
import { checkWritable } from '../../training/fit/output-folder.js';
import { packageVersion, shippedModels } from '../../util/package-root.js';
import { type DataFlags, readData, withDataFlags } from '../shared/data-flags.js';
import { engineOf, engineOption, wholeNumber } from '../shared/flags.js';
import { untilInterrupted } from '../shared/interrupt.js';
import { createProgress, note, type Progress, print, printJson, table } from '../shared/output.js';

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

export function registerEvaluate(program: Command): void {
  withDataFlags(program.command('evaluate'), 'folder with normal/ and one folder per other class: see below')
    .description('measure a bundle on labelled images: AUROC per class, realised false-positive rate')
    .requiredOption('--model <name|dir>', 'NAME, NAME@VERSION or a bundle folder')
    .option('--models <dir>', 'folder of bundles that NAME is looked up in', shippedModels())
    .option('--scores <file.csv>', 'write one line an image: score, p-value, decision, box of the top patch')
    .option('--report <file.html>', 'write curves, histograms and the highest-scoring images with maps')
    .option('--top <n>', 'images in the contact sheet of the report', wholeNumber(0, 500), 24)
    .addOption(
      new Option(
        '--half <part>',
        'choose: the third of the patients that settings are chosen on; report: the others (default: all)',
      ).choices(TEST_HALVES),
    )
    .option(
      '--half-log <file>',
      'where openings of the report part are written (default: DATA.openings.jsonl)',
    )
    .addOption(engineOption('what computes').default('auto'))
    .addOption(
      new Option('--precision <name>', 'arithmetic of learned encoders')
        .choices(REQUESTED_PRECISIONS)
        .default('float32'),
    )
    .option('--json', 'one JSON object')
    .addHelpText(
      'after',
      `
Lesion masks in DATA/masks/<class>/<file> (or masks/<file>) add patch AUROC and
pointing hits. Boxes in boxes.tsv (columns path, x, y, w, h in pixels, in DATA or
the folder above) add how often the top patch lies in one. Images that the model
was trained or calibrated on are left out of all figures and reported.

--half splits a test set by a hash of the patient, always in the same way:
choose settings on one part and report on the other. Each use of the report
part is logged before an image is scored; without --half it is logged where a
log exists.

Examples:
  salad evaluate --model chest-pediatric --data test/ --report evaluation.html
  salad evaluate --model phantom@1 --data phantoms/ --json --scores scores.csv
  salad evaluate --model models/mine/1 --data test/ --half choose
  salad evaluate --model models/mine/1 --data test/ --precision bfloat16`,
    )
    .action((flags: EvaluateFlags) => untilInterrupted((signal) => evaluate(flags, signal)));
}

function printForPeople(detail: EvaluationDetail): void {
  const { evaluation } = detail;
  print(
    `${evaluation.model} on engine ${evaluation.engine} in ${evaluation.precision}: ${evaluation.normal.count} normal images, ` +
      `${evaluation.imagesPerSecond.toFixed(1)} images per second`,
  );
  if (evaluation.notScored > 0) print(`${evaluation.notScored} images had nothing to score and are left out`);
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

/** Files that are written at the end: whether they can be is known at the beginning. */
async function checkOutputs({ scores, report }: EvaluateFlags): Promise<void> {
  if (scores) await checkWritable('--scores', scores);
  if (report) await checkWritable('--report', report);
  if (scores && report && resolve(scores) === resolve(report)) {
    throw new SaladError('CONFIGURATION_INVALID', `--scores and --report are the same file, ${report}`);
  }
}

/** Images are read, never written. */
function checkNoImage({ scores, report, halfLog }: EvaluateFlags, { images }: Dataset): void {
  const paths = new Set(images.map(({ path }) => path));
  for (const file of [scores, report, halfLog]) {
    if (file && paths.has(resolve(file))) {
      throw new SaladError('CONFIGURATION_INVALID', `${file} is an image of the data: it is not overwritten`);
    }
  }
}

/** Writes down that the report part is looked at. Without --half only where openings are logged already. */
async function logOpenings(flags: EvaluateFlags, dataset: Dataset, bundle: Bundle): Promise<void> {
  const file = flags.halfLog ?? openingsFile(dataset.directory);
  const isLogged =
    flags.half === undefined ? flags.halfLog !== undefined || existsSync(file) : flags.half !== 'choose';
  if (!isLogged) return;
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
  note(`opening of part ${flags.half ?? 'all'} logged in ${file}`);
}

async function writeOutputs(flags: EvaluateFlags, detail: EvaluationDetail, bundle: Bundle): Promise<void> {
  if (flags.scores) {
    await writeFile(flags.scores, scoreTable(detail));
    note(`scores: ${flags.scores}`);
  }
  if (flags.report) {
    await writeFile(flags.report, await evaluationReport(detail, bundle));
    note(`report: ${flags.report}`);
  }
}

async function evaluate(flags: EvaluateFlags, signal: AbortSignal): Promise<void> {
  const { top } = flags;
  const precision = supportedPrecision(flags.precision);
  const engineName = engineOf(flags.engine);
  await checkOutputs(flags);
  const bundle = await readBundle(await findBundle(flags.models, flags.model));
  let engine: Engine | undefined;
  let progress: Progress | undefined;
  try {
    const all = await readData(flags, 'evaluate', signal);
    checkNoImage(flags, all);
    const dataset = halfOf(all, flags.half ?? 'all');
    engine = await createEngine(engineName);
    await logOpenings(flags, dataset, bundle);
    progress = createProgress('scoring', dataset.images.length);
    const detail = await evaluateBundle({
      bundle,
      engine,
      dataset,
      precision,
      keepTop: flags.report ? top : 0,
      signal,
      onProgress: (done) => progress?.update(done),
    });
    progress.stop();
    await writeOutputs(flags, detail, bundle);
    if (flags.json) {
      for (const warning of detail.evaluation.warnings) note(`warning: ${warning}`);
      const half = flags.half ?? 'all';
      printJson({ ...detail.evaluation, half, data: dataReportJson(all.report) });
    } else printForPeople(detail);
  } finally {
    progress?.stop();
    await engine?.dispose();
  }
}
