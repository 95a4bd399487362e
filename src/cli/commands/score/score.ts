import { type Command, Option } from 'commander';
import { SaladError } from '../../../errors/index.js';
import type { ProgramContext } from '../../shared/context.js';
import { engineOption, MAX_TIMER_MS, numberBetween, numberFrom, wholeNumber } from '../../shared/flags.js';
import { helpText } from '../../shared/help.js';
import { findImageFiles, type ImageFiles } from '../../shared/image-files.js';
import { runInterruptible } from '../../shared/interrupt.js';
import { createProgress, EXIT, note, printable } from '../../shared/output.js';
import { ServerCallError } from '../../shared/server-call.js';
import { openSession, type Session } from '../../shared/session.js';
import { type TargetFlags, withTargetFlags } from '../../shared/target.js';
import { type FileFlags, scoreFile } from './file.js';
import { type ScoreOutputFlags, ScoreOutputs } from './outputs.js';
import { createRateWarner, refuseUnreachableRate } from './warnings.js';

interface ScoreFlags extends TargetFlags, FileFlags, ScoreOutputFlags {
  readonly model?: string;
  readonly models?: string;
  readonly engine?: string;
  readonly recursive?: boolean;
}

const HELP = helpText(
  [
    'Placeholders in --anomaly-map:\n' +
      '  {name}    name of the image without its extension\n' +
      '  {ext}     extension of the image\n' +
      '  {folder}  folder of the image, relative to the common folder of all images',
    'A map never overwrites an image that is scored. A DICOM file with several frames has one map per frame: the ' +
      'number of the frame is added before the extension.',
    'DICOM files are decoded by this command, which sends their pixels as rows (as tiles with --mode tiles). All ' +
      'other data of the files stays on this machine, unless --send-dicom is given. Each frame is scored on its own.',
    'Ctrl-C stops; the results until then are printed and written. Exit codes: 0 all images were scored, ' +
      '1 some or all were not, 2 wrong usage, 130 interrupted.',
  ],
  [
    ['salad score chest.png --model chest-pediatric', 'score one image'],
    ['salad score images/ --recursive --model chest-adult --csv scores.csv', 'score all images of a folder'],
    ['salad score *.png --model chest-adult --report report.html', 'write an HTML report'],
    ["salad score *.png --model chest-adult --anomaly-map 'maps/{name}.png'", 'write anomaly maps'],
    ['salad score *.png --model chest-pediatric --json | jq .imageScore', 'print scores for a program'],
    ['salad score IM000001 --model chest-adult --json --identify', 'score a DICOM file'],
    ['salad score chest.png --model models/mine/1', 'use a model of your own'],
    ['salad score chest.png --target salad.example:50051 --tls --model mine@1', 'use a running server'],
  ],
);

export function registerScore(program: Command, context: ProgramContext): void {
  const command = program
    .command('score')
    .summary('score radiographs: how much images and patches differ from normal')
    .description(
      'Scores radiographs: how much each image, and each patch of it, differs from the normal images of a model. ' +
        'A salad-serve server computes the scores: the one named by --target, else one started for this command.',
    )
    .argument('<paths...>', 'PNG and JPEG files, 8 or 16 bits, DICOM files, and folders of them')
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
      'largest share of normal images that may be called anomalous (default: 0.05, or the lowest rate that the model can promise)',
      numberBetween(0, 1),
    )
    .addOption(
      new Option('--mode <mode>', 'send the file, or its pixels as rows or tiles, as a detector does')
        .choices(['image', 'rows', 'tiles'])
        .default('image'),
    )
    .option(
      '--rows-per-second <n>',
      'pace of --mode rows; 0, the default: as fast as possible',
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
  withTargetFlags(withDicomFlags(command))
    .addHelpText('after', HELP)
    .action((paths: string[], flags: ScoreFlags) =>
      runInterruptible((signal) => score(paths, flags, context, signal)),
    );
}

function withDicomFlags(command: Command): Command {
  return command
    .option('--identify', 'add SOP Instance UID, laterality and view of DICOM files to the results')
    .option(
      '--send-dicom',
      'send whole DICOM files, with the data of the patient, instead of their pixels only',
    )
    .addOption(
      new Option(
        '--photometric <value>',
        'photometric interpretation of DICOM files that contradict themselves',
      ).choices(['MONOCHROME1', 'MONOCHROME2']),
    );
}

async function score(
  paths: readonly string[],
  flags: ScoreFlags,
  context: ProgramContext,
  signal: AbortSignal,
): Promise<void> {
  if (flags.sendDicom && flags.mode !== 'image') {
    throw new SaladError('CONFIGURATION_INVALID', '--send-dicom needs --mode image');
  }
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
  const begin = async () => {
    await outputs.begin();
    for (const { path, error } of failures) await outputs.addFailure(path, error);
  };
  const session = await openSession({ ...flags, environment: context.environment, signal }).catch(
    async (error: unknown) => {
      // As after an interrupt later: the outputs say that nothing was scored.
      if (signal.aborted) await begin().then(() => outputs.finish(INTERRUPTED));
      throw error;
    },
  );
  try {
    await refuseUnreachableRate(session, flags.maxFalsePositiveRate, signal);
    await begin();
    let whyNotScored = 'another error ended the command';
    try {
      whyNotScored = await scoreFiles(session, files, flags, outputs, signal);
    } finally {
      await outputs.finish(signal.aborted ? INTERRUPTED : whyNotScored);
    }
  } finally {
    await session.close();
  }
}

const INTERRUPTED = 'interrupted';

/**
 * Scores the files one after the other; a failure of one file does not affect the others.
 * @returns why files were not scored, if some were not
 */
async function scoreFiles(
  session: Session,
  files: ImageFiles['files'],
  flags: ScoreFlags,
  outputs: ScoreOutputs,
  signal: AbortSignal,
): Promise<string> {
  // Result lines on the same terminal would be mixed with the progress bar.
  const hasProgress = files.length > 1 && !((flags.json || flags.patches) && process.stdout.isTTY);
  const progress = hasProgress ? createProgress('scoring', files.length) : undefined;
  const addRateWarning = createRateWarner(flags.maxFalsePositiveRate);
  try {
    for (const [index, file] of files.entries()) {
      if (outputs.isClosed || signal.aborted) return INTERRUPTED;
      progress?.update(index, file);
      for await (const result of scoreFile(session, file, { ...flags, selector: session.model, signal })) {
        if (!('error' in result)) {
          const { readPixels, ...scored } = result;
          const aggregate = addRateWarning(scored.aggregate);
          await outputs.add({ file, ...scored, aggregate }, readPixels);
          continue;
        }
        if (signal.aborted) return INTERRUPTED;
        const failure = session.explain(result.error);
        await outputs.addFailure(file, failure, result.source);
        if (flags.patches || !isServerUnavailable(failure)) continue;
        note(
          `salad: the server is unavailable: the other ${files.length - index - 1} images are not scored; ` +
            'run the command again when it is back',
        );
        return 'the server is unavailable';
      }
      outputs.endFile(file);
    }
    progress?.update(files.length);
    return 'unknown';
  } finally {
    progress?.stop();
  }
}

/** Whether retries until the deadline found no server: every other file would wait as long. */
function isServerUnavailable(failure: unknown): boolean {
  return failure instanceof ServerCallError && failure.status === 'UNAVAILABLE';
}
