import type { Command } from 'commander';
import { readBundle } from '../../bundle/bundle.js';
import { findBundle } from '../../bundle/repository.js';
import type { Engine } from '../../engines/engine.js';
import { createEngine } from '../../engines/selection/select.js';
import { dataReportJson } from '../../training/data/report.js';
import { CHECKED_RATES } from '../../training/evaluate/figures.js';
import { type RecalibrateResult, recalibrateBundle } from '../../training/evaluate/recalibrate.js';
import { reserveBundleFolder, versionDirectory } from '../../training/fit/output-folder.js';
import { shippedModels } from '../../util/package-root.js';
import { type DataFlags, dataWords, readData, withDataFlags } from '../shared/data-flags.js';
import {
  engineOf,
  engineOption,
  MAX_TRAINING_SEED,
  MAX_VERSION,
  quoted,
  wholeNumber,
} from '../shared/flags.js';
import { untilInterrupted } from '../shared/interrupt.js';
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
    .description("new thresholds for a bundle from your site's own normal radiographs")
    .requiredOption('--model <name|dir>', 'NAME, NAME@VERSION or a bundle folder')
    .requiredOption('--out <dir>', 'models folder: writes DIR/<name>/<version>')
    .option('--models <dir>', 'folder of bundles that NAME is looked up in', shippedModels())
    .option(
      '--version <n>',
      'version of what is written (default: one more than the bundle)',
      wholeNumber(1, MAX_VERSION),
    )
    .option('--seed <n>', 'the split in two halves follows it', wholeNumber(0, MAX_TRAINING_SEED), 0)
    .addOption(engineOption('what computes').default('auto'))
    .option('--json', 'one JSON object')
    .addHelpText(
      'after',
      `
A threshold promises its false-positive rate for normals like those it was calibrated on. At another site, on another
device, or when the log warns that recent images score unlike them, give normals of your own: 19 at least, a hundred
for 1 %. From 200 on half of them also re-fit what is normal at each place of the image. Images that the model was trained
on are left out, and said: it remembers them. A version that exists is never overwritten.
Encoder and memory bank stay as they are; where normals look very different, train instead.

Examples:
  salad calibrate --model chest-adult --data normals/ --out models        writes models/chest-adult/2
  salad evaluate --model models/chest-adult/2 --data test/                then look at the realised rate`,
    )
    .action((flags: CalibrateFlags) => untilInterrupted((signal) => calibrate(flags, signal)));
}

const percent = (share: number): string => `${(100 * share).toFixed(1)} %`;

function printForPeople({ bundle, images, patchTables, flaggedBefore, warnings }: RecalibrateResult): void {
  const { manifest, directory } = bundle;
  print(
    `${manifest.name}@${manifest.version} is in ${directory}: thresholds from ${images} normals` +
      (patchTables === 'refitted' ? ', what is normal at each place from half of them' : ''),
  );
  for (const rate of CHECKED_RATES) {
    const share = flaggedBefore[rate];
    if (share === null) continue;
    print(`the thresholds before would have flagged ${percent(share)} of them at ${percent(Number(rate))}`);
  }
  for (const warning of warnings) print(`warning: ${warning}`);
  print(`next: salad evaluate --model ${directory} --data TEST_DIR`);
}

/** What was left out, and whether that could be told, on stderr. */
function noteOverlap({ trainingImages, overlapCheck }: RecalibrateResult): void {
  if (trainingImages.length > 0) {
    note(
      `left out: ${trainingImages.length} images that the bundle was trained on (${trainingImages.slice(0, 3).join(', ')}` +
        `${trainingImages.length > 3 ? ', ...' : ''})`,
    );
  }
  if (overlapCheck === 'none') {
    note('warning: the bundle keeps no hashes of its training images: give normals of other patients');
  }
}

async function calibrate(flags: CalibrateFlags, signal: AbortSignal): Promise<void> {
  const engineName = engineOf(flags.engine);
  const { seed } = flags;
  const bundle = await readBundle(await findBundle(flags.models, flags.model));
  const { name, version: before } = bundle.manifest;
  const version = flags.version ?? before + 1;
  const bundleDirectory = versionDirectory(flags.out, name, version);
  const release = await reserveBundleFolder(bundleDirectory);
  const words = ['salad calibrate', '--model', `${name}@${before}`, '--data', quoted(flags.data)];
  words.push(...dataWords(flags), '--seed', String(seed), '--version', String(version));
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
      command: words.join(' '),
      signal,
      onProgress: (done, total) => {
        progress ??= createProgress('scoring normals', total);
        progress.update(done);
      },
    });
    progress?.stop();
    noteOverlap(result);
    const { images, trainingImages, overlapCheck, patchTables, flaggedBefore, warnings } = result;
    if (flags.json) {
      for (const warning of warnings) note(`warning: ${warning}`);
      printJson({
        bundle: result.bundle.directory,
        model: `${name}@${version}`,
        hash: result.bundle.sha256,
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
    } else printForPeople(result);
  } finally {
    progress?.stop();
    release();
    await engine?.dispose();
  }
}
