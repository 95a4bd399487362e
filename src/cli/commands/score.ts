import { randomUUID } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { type Command, Option } from 'commander';
import {
  type AcquisitionAggregate,
  type AcquisitionEvent,
  AnomalyMapFormat,
  Priority,
  type SaladClient,
  type ScoreOptions,
  Source,
} from '../../../clients/typescript/src/index.js';
import { SaladError } from '../../errors/index.js';
import { decodeImage } from '../../imaging/decode.js';
import { defaultPixelFormat } from '../../imaging/pixel-format.js';
import type { ProgramContext } from '../shared/context.js';
import { failureOf } from '../shared/failure.js';
import { engineOption, MAX_TIMER_MS, numberBetween, numberFrom, wholeNumber } from '../shared/flags.js';
import { helpText } from '../shared/help.js';
import { findImageFiles, type ImageFiles } from '../shared/image-files.js';
import { runInterruptible } from '../shared/interrupt.js';
import { createProgress, EXIT, note, print, printable, printJson } from '../shared/output.js';
import { type RawImage, rowChunks, tileChunks } from '../shared/pixel-source.js';
import { ServerCallError } from '../shared/server-call.js';
import { type ModelChoice, openSession, type Session } from '../shared/session.js';
import { type TargetFlags, withTargetFlags } from '../shared/target.js';
import { ScoreOutputs } from './score-outputs.js';

type Mode = 'image' | 'rows' | 'tiles';

interface ScoreFlags extends TargetFlags {
  readonly mode: Mode;
  readonly model?: string;
  readonly models?: string;
  readonly engine?: string;
  readonly recursive?: boolean;
  readonly anomalyMap?: string;
  readonly report?: string;
  readonly csv?: string;
  readonly patches?: boolean;
  readonly json?: boolean;
  readonly rowsPerSecond?: number;
  readonly priority: 'stat' | 'routine' | 'background';
  readonly maxFalsePositiveRate?: number;
  readonly timeoutMs: number;
}

export function registerScore(program: Command, context: ProgramContext): void {
  const command = program
    .command('score')
    .summary('score radiographs: how much images and patches differ from normal')
    .description(
      'Scores radiographs: how much each image, and each patch of it, differs from the normal images of a model. ' +
        'A salad-serve server computes the scores: the one named by --target, else one started for this command.',
    )
    .argument('<paths...>', 'PNG and JPEG files, 8 or 16 bits, and folders of them')
    .option(
      '--model <name|dir>',
      'NAME, NAME@VERSION or a bundle folder; optional if the server has one model',
    )
    .option('--recursive', 'also search the sub-folders of folders')
    .option('--anomaly-map <file.png>', 'write each image with its scores as colours; see below for {name}')
    .option('--report <file.html>', 'write one HTML page with scores, maps and failures')
    .option('--csv <file>', 'write one line per image')
    .option('--json', 'print JSON Lines instead of a table')
    .option('--patches', 'print every patch score as it arrives')
    .option(
      '--max-false-positive-rate <rate>',
      'largest share of normal images that may be called anomalous, such as 0.05 (default: the rate of the model)',
      numberBetween(0, 1),
    )
    .addOption(
      new Option('--mode <mode>', 'send the file, or its pixels as rows or tiles, as a detector does')
        .choices(['image', 'rows', 'tiles'])
        .default('image'),
    )
    .option(
      '--rows-per-second <n>',
      'pace of --mode rows (default: as fast as possible)',
      numberFrom(0, 1_000_000),
    )
    .addOption(
      new Option('--priority <class>', 'priority class when the server is busy')
        .choices(['stat', 'routine', 'background'])
        .default('routine'),
    )
    .option('--timeout-ms <ms>', 'timeout of each image', wholeNumber(1, MAX_TIMER_MS), 60_000)
    .addOption(
      new Option(
        '--models <dir>',
        'bundles of the server started for this command (default: the shipped models)',
      ).conflicts('target'),
    )
    .addOption(engineOption('engine of the server started for this command').conflicts('target'));
  withTargetFlags(command)
    .addHelpText(
      'after',
      helpText(
        [
          'Placeholders in --anomaly-map:\n' +
            '  {name}    name of the image without its extension\n' +
            '  {ext}     extension of the image\n' +
            '  {folder}  folder of the image, relative to the common folder of all images',
          'A map never overwrites an image that is scored.',
          'Ctrl-C stops; the results until then are printed and written. Exit codes: 0 all images were scored, ' +
            '1 some were not, 2 wrong usage, 130 interrupted.',
        ],
        [
          ['salad score chest.png --model chest-pediatric', 'score one image'],
          [
            'salad score images/ --recursive --model chest-adult --csv scores.csv',
            'score all images of a folder',
          ],
          ['salad score *.png --model chest-adult --report report.html', 'write an HTML report'],
          ["salad score *.png --model chest-adult --anomaly-map 'maps/{name}.png'", 'write anomaly maps'],
          ['salad score *.png --model chest-pediatric --json | jq .imageScore', 'print scores for a program'],
          ['salad score chest.png --model models/mine/1', 'use a model of your own'],
          ['salad score chest.png --target salad.example:50051 --tls --model mine@1', 'use a running server'],
        ],
      ),
    )
    .action((paths: string[], flags: ScoreFlags) =>
      runInterruptible((signal) => score(paths, flags, context, signal)),
    );
}

async function score(
  paths: readonly string[],
  flags: ScoreFlags,
  context: ProgramContext,
  signal: AbortSignal,
): Promise<void> {
  if (flags.rowsPerSecond !== undefined && flags.mode !== 'rows') {
    throw new SaladError('CONFIGURATION_INVALID', '--rows-per-second needs --mode rows');
  }
  const { files, failures, leftOut } = await findImageFiles(paths, flags.recursive === true);
  for (const line of leftOut) note(`salad: ${printable(line)}`);
  const outputs = await ScoreOutputs.open(flags, files, files.length + failures.length);
  if (files.length === 0) {
    for (const { path, error } of failures) await outputs.addFailure(path, error);
    process.exitCode = EXIT.usage;
    return;
  }
  const session = await openSession({ ...flags, environment: context.environment, signal });
  try {
    await outputs.begin();
    for (const { path, error } of failures) await outputs.addFailure(path, error);
    await scoreFiles(session, files, flags, outputs, signal);
  } finally {
    await session.close();
    await outputs.finish();
  }
}

/** Scores the files one after the other; a failure of one file does not affect the others. */
async function scoreFiles(
  session: Session,
  files: ImageFiles['files'],
  flags: ScoreFlags,
  outputs: ScoreOutputs,
  signal: AbortSignal,
): Promise<void> {
  // Result lines on the same terminal would be mixed with the progress bar.
  const hasProgress = files.length > 1 && !((flags.json || flags.patches) && process.stdout.isTTY);
  const progress = hasProgress ? createProgress('scoring', files.length) : undefined;
  try {
    for (const [index, file] of files.entries()) {
      if (outputs.isClosed || signal.aborted) return;
      progress?.update(index, file);
      const startMs = performance.now();
      try {
        const aggregate = await scoreFile(session, file, { ...flags, selector: session.model, signal });
        await outputs.add({ file, aggregate, latencyMs: performance.now() - startMs });
      } catch (error) {
        if (signal.aborted) return;
        const failure = session.explain(error);
        await outputs.addFailure(file, failure);
        if (flags.patches || !isServerUnavailable(failure)) continue;
        note(
          `salad: the server is unavailable: the other ${files.length - index - 1} images are not scored; ` +
            'run the command again when it is back',
        );
        return;
      }
    }
    progress?.update(files.length);
  } finally {
    progress?.stop();
  }
}

/** Whether retries until the deadline found no server: every other file would wait as long. */
function isServerUnavailable(failure: unknown): boolean {
  return failure instanceof ServerCallError && failure.status === 'UNAVAILABLE';
}

type FileOptions = ScoreFlags & { readonly selector: ModelChoice; readonly signal: AbortSignal };

/** @throws SaladClientError, and the errors of reading and decoding the file */
async function scoreFile(
  session: Session,
  file: string,
  options: FileOptions,
): Promise<AcquisitionAggregate> {
  const bytes = await readFile(file);
  const call: ScoreOptions = {
    timeoutMs: options.timeoutMs,
    signal: options.signal,
    onEvent(event) {
      if (options.patches && event.type === 'patches') printPatches(file, event, options.json === true);
    },
    // No retries: patches of a failed attempt are printed already and would be printed again.
    ...(options.patches ? { retry: false as const } : {}),
    onRetry({ attempt, error }) {
      if (attempt > 2 || error.status !== 'UNAVAILABLE') return;
      const { message } = failureOf(session.explain(error));
      note(`salad: ${message}; retrying for ${options.timeoutMs / 1000} s`);
    },
  };
  return options.mode === 'image'
    ? session.client.scoreImage(headerOf(options), { encoded: bytes }, call)
    : scorePixels(session.client, await decode(bytes), options, call);
}

type Decoded = RawImage & { readonly bitsStored: number };

/** Without a limit of its own, because the file is the user's; the limits of the server apply. */
function decode(bytes: Uint8Array): Promise<Decoded> {
  return decodeImage(bytes, { maxPixels: Number.MAX_SAFE_INTEGER });
}

/** Sends rows or tiles, as a modality does; all modes give the same scores. */
function scorePixels(
  client: SaladClient,
  image: Decoded,
  options: FileOptions,
  call: ScoreOptions,
): Promise<AcquisitionAggregate> {
  const { rows, columns, bitsAllocated, bitsStored } = image;
  if (options.mode === 'rows') {
    const header = {
      ...headerOf(options),
      image: { rows, columns, bitsAllocated, bitsStored },
      source: Source.SOURCE_ROWS,
    };
    return client.scoreAcquisition(header, () => rowChunks(image, 16, options.rowsPerSecond), call);
  }
  // Tiles are always sent as 8-bit display values, whatever the format of the file.
  const header = {
    ...headerOf(options),
    image: { rows, columns, bitsAllocated: 8, bitsStored: 8 },
    source: Source.SOURCE_TILES,
  };
  const format = defaultPixelFormat(rows, columns, bitsAllocated, bitsStored);
  return client.scoreAcquisition(header, (accepted) => tileChunks(image, format, accepted), call);
}

const PRIORITIES = {
  stat: Priority.PRIORITY_STAT,
  routine: Priority.PRIORITY_ROUTINE,
  background: Priority.PRIORITY_BACKGROUND,
};

function headerOf(options: FileOptions) {
  const needsMap = options.anomalyMap !== undefined || options.report !== undefined;
  const rate = options.maxFalsePositiveRate;
  return {
    acquisitionId: randomUUID(),
    model: options.selector,
    priority: PRIORITIES[options.priority],
    options: {
      patchScores: options.patches === true,
      anomalyMap: needsMap
        ? AnomalyMapFormat.ANOMALY_MAP_FORMAT_PNG_OVERLAY
        : AnomalyMapFormat.ANOMALY_MAP_FORMAT_NONE,
      ...(rate === undefined ? {} : { maxFalsePositiveRate: rate }),
    },
  };
}

function printPatches(file: string, event: AcquisitionEvent & { type: 'patches' }, json: boolean): void {
  for (const { row, column, score: value, robustZ, pValue } of event.patches) {
    if (json) printJson({ event: 'patch', file, row, column, score: value, robustZ, pValue });
    else
      print(`${printable(file)}  patch ${row},${column}  score ${value.toFixed(4)}  z ${robustZ.toFixed(2)}`);
  }
}
