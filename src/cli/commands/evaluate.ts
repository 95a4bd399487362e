import { writeFile } from 'node:fs/promises';
import { type Command, Option } from 'commander';
import { readBundle } from '../../bundle/bundle.js';
import { findBundle } from '../../bundle/repository.js';
import { createEngine } from '../../engines/selection/select.js';
import { PRECISIONS, type Precision } from '../../network/precision.js';
import { loadDataset } from '../../training/data/dataset.js';
import { type EvaluationDetail, evaluateBundle } from '../../training/evaluate/evaluate.js';
import {
  CLASS_HEADER,
  classRows,
  evaluationReport,
  LOCALISATION_HEADER,
  localisationRows,
  NORMAL_HEADER,
  normalRows,
} from '../../training/evaluate/report.js';
import { shippedModels } from '../../util/package-root.js';
import { engineOf, engineOption, wholeNumber } from '../shared/flags.js';
import { createProgress, note, print, printJson, table } from '../shared/output.js';

interface EvaluateFlags {
  readonly model: string;
  readonly models: string;
  readonly data: string;
  readonly report?: string;
  readonly engine: string;
  readonly precision: Precision;
  readonly top: number;
  readonly json?: boolean;
}

export function registerEvaluate(program: Command): void {
  program
    .command('evaluate')
    .description('measure a bundle on labelled images: AUROC per class, realised false-positive rate')
    .requiredOption('--model <name|dir>', 'NAME, NAME@VERSION or a bundle folder')
    .requiredOption('--data <dir>', 'folder with normal/ and one folder per other class')
    .option('--models <dir>', 'folder of bundles that NAME is looked up in', shippedModels())
    .option('--report <file.html>', 'write curves, histograms and the highest-scoring images with maps')
    .option('--top <n>', 'images in the contact sheet of the report', wholeNumber(0, 500), 24)
    .addOption(engineOption('what computes').default('auto'))
    .addOption(
      new Option('--precision <name>', 'arithmetic of learned encoders')
        .choices(PRECISIONS)
        .default('float32'),
    )
    .option('--json', 'one JSON object')
    .addHelpText(
      'after',
      `
Lesion masks in DATA/masks/<class>/<file> (or masks/<file>) add patch AUROC and pointing hits.

Examples:
  salad evaluate --model chest-pediatric --data test/ --report evaluation.html
  salad evaluate --model phantom@1 --data phantoms/ --json
  salad evaluate --model models/mine/1 --data test/ --engine wasm
  salad evaluate --model models/learned/1 --data test/ --precision int8    of a preset with learned layers`,
    )
    .action(evaluate);
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
}

async function evaluate(flags: EvaluateFlags): Promise<void> {
  const engineName = engineOf(flags.engine);
  const bundle = await readBundle(await findBundle(flags.models, flags.model));
  const dataset = await loadDataset(flags.data);
  const engine = await createEngine(engineName);
  const abort = new AbortController();
  const onInterrupt = (): void => abort.abort();
  process.once('SIGINT', onInterrupt);
  const progress = createProgress('scoring', dataset.images.length);
  try {
    const detail = await evaluateBundle({
      bundle,
      engine,
      dataset,
      precision: flags.precision,
      keepTop: flags.report ? flags.top : 0,
      signal: abort.signal,
      onProgress: (done) => progress.update(done),
    });
    progress.stop();
    if (flags.report) {
      await writeFile(flags.report, await evaluationReport(detail, bundle));
      note(`report: ${flags.report}`);
    }
    if (flags.json) printJson(detail.evaluation);
    else printForPeople(detail);
  } finally {
    progress.stop();
    process.removeListener('SIGINT', onInterrupt);
    await engine.dispose();
  }
}
