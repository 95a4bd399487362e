import { existsSync } from 'node:fs';
import type { Command } from 'commander';
import { readBundle } from '../../bundle/bundle.js';
import { findBundle } from '../../bundle/repository.js';
import { createEngine } from '../../engines/selection/select.js';
import { SaladError } from '../../errors/index.js';
import { CHECKED_RATES } from '../../training/evaluate/evaluate.js';
import { type RecalibrateResult, recalibrateBundle } from '../../training/evaluate/recalibrate.js';
import { versionDirectory } from '../../training/fit/train.js';
import { shippedModels } from '../../util/package-root.js';
import {
  engineOf,
  engineOption,
  MAX_TRAINING_SEED,
  MAX_VERSION,
  quoted,
  wholeNumber,
} from '../shared/flags.js';
import { createProgress, type Progress, print, printJson } from '../shared/output.js';

interface CalibrateFlags {
  readonly model: string;
  readonly models: string;
  readonly data: string;
  readonly out: string;
  readonly version?: number;
  readonly seed: number;
  readonly engine: string;
  readonly json?: boolean;
}

export function registerCalibrate(program: Command): void {
  program
    .command('calibrate')
    .description("new thresholds for a bundle from your site's own normal radiographs")
    .requiredOption('--model <name|dir>', 'NAME, NAME@VERSION or a bundle folder')
    .requiredOption('--data <dir>', 'folder with normal/ inside, or PNG and JPEG images directly')
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
for 1 %. From 200 on half of them also re-fit what is normal at each place of the image. Patients: as for salad train.
Encoder and memory bank stay as they are; where normals look very different, train instead.

Examples:
  salad calibrate --model chest-adult --data normals/ --out models        writes models/chest-adult/2
  salad evaluate --model models/chest-adult/2 --data test/                then look at the realised rate`,
    )
    .action(calibrate);
}

const percent = (share: number): string => `${(100 * share).toFixed(1)} %`;

function printForPeople({ bundle, images, patchTables, flaggedBefore }: RecalibrateResult): void {
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
  print(`next: salad evaluate --model ${directory} --data TEST_DIR`);
}

async function calibrate(flags: CalibrateFlags): Promise<void> {
  const engineName = engineOf(flags.engine);
  const { seed } = flags;
  const bundle = await readBundle(await findBundle(flags.models, flags.model));
  const { name, version: before } = bundle.manifest;
  const version = flags.version ?? before + 1;
  const bundleDirectory = versionDirectory(flags.out, name, version);
  if (existsSync(bundleDirectory)) {
    throw new SaladError(
      'CONFIGURATION_INVALID',
      `${bundleDirectory} exists: give another --version or --out`,
    );
  }
  const command =
    `salad calibrate --model ${name}@${before} --data ${quoted(flags.data)} --seed ${seed} ` +
    `--version ${version}`;
  const engine = await createEngine(engineName);
  const abort = new AbortController();
  const onInterrupt = (): void => abort.abort();
  process.once('SIGINT', onInterrupt);
  let progress: Progress | undefined;
  try {
    const result = await recalibrateBundle({
      bundle,
      engine,
      dataDirectory: flags.data,
      bundleDirectory,
      version,
      seed,
      command,
      signal: abort.signal,
      onProgress: (done, total) => {
        progress ??= createProgress('scoring normals', total);
        progress.update(done);
      },
    });
    progress?.stop();
    const { images, patchTables, flaggedBefore } = result;
    if (flags.json) {
      printJson({
        bundle: result.bundle.directory,
        model: `${name}@${version}`,
        hash: result.bundle.sha256,
        images,
        patchTables,
        flaggedBefore,
      });
    } else printForPeople(result);
  } finally {
    progress?.stop();
    process.removeListener('SIGINT', onInterrupt);
    await engine.dispose();
  }
}
