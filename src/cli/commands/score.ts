import { type Command, Option } from 'commander';
import type { Photometric } from '../../dicom/grey-scale.js';
import { SaladError } from '../../errors/index.js';
import type { ProgramContext } from '../shared/context.js';
import { engineOption, MAX_TIMER_MS, numberBetween, numberFrom, wholeNumber } from '../shared/flags.js';
import { helpText } from '../shared/help.js';
import { findImageFiles, type ImageFiles } from '../shared/image-files.js';
import { untilInterrupted } from '../shared/interrupt.js';
import { createProgress, EXIT, note, printable } from '../shared/output.js';
import { ServerCallError } from '../shared/server-call.js';
import { openSession, type Session } from '../shared/session.js';
import { type TargetFlags, withTargetFlags } from '../shared/target.js';
import { scoreFile } from './score-file.js';
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
  readonly identify?: boolean;
  readonly sendDicom?: boolean;
  readonly photometric?: Photometric;
}

export function registerScore(program: Command, context: ProgramContext): void {
  const command = program
    .command('score')
    .summary('score radiographs: how unlike normal ones each image and patch is')
    .description(
      'Scores radiographs: how unlike the normal images of a model each image and each patch of it is. ' +
        'A salad-serve server does the work: the one named by --target, else one started for this command.',
    )
    .argument('<paths...>', 'PNG and JPEG files, 8 or 16 bits, DICOM files, and folders of them')
    .option(
      '--model <name|dir>',
      'NAME, NAME@VERSION or a bundle folder; may be left out where one is loaded',
    )
    .option('--recursive', 'also take images in sub-folders of the folders given')
    .option('--anomaly-map <file.png>', 'write each image with its scores as colours; see below for {name}')
    .option('--report <file.html>', 'write one HTML page with scores, maps and failures')
    .option('--csv <file>', 'write one line an image')
    .option('--json', 'print JSON Lines instead of a table')
    .option('--patches', 'print every patch score as it arrives')
    .option(
      '--max-false-positive-rate <rate>',
      "how many normal images may be called anomalous, such as 0.05; without it the model's own rate",
      numberBetween(0, 1),
    )
    .addOption(
      new Option('--mode <mode>', 'send the file, or its pixels as a detector would')
        .choices(['image', 'rows', 'tiles'])
        .default('image'),
    )
    .option(
      '--rows-per-second <n>',
      'pace of --mode rows (default: as fast as possible)',
      numberFrom(0, 1_000_000),
    )
    .addOption(
      new Option('--priority <class>', 'what goes first when the server is busy')
        .choices(['stat', 'routine', 'background'])
        .default('routine'),
    )
    .option('--identify', 'name the instances of DICOM files in results: SOP Instance UID, laterality, view')
    .option(
      '--send-dicom',
      'send DICOM files whole, with the name of the patient and all else, instead of their pixels alone',
    )
    .addOption(
      new Option(
        '--photometric <value>',
        'photometric interpretation of DICOM files that contradict themselves',
      ).choices(['MONOCHROME1', 'MONOCHROME2']),
    )
    .option('--timeout-ms <ms>', 'longest time for each image', wholeNumber(1, MAX_TIMER_MS), 60_000)
    .addOption(
      new Option(
        '--models <dir>',
        'bundles of the server started here (default: the shipped ones)',
      ).conflicts('target'),
    )
    .addOption(engineOption('engine of the server started here').conflicts('target'));
  withTargetFlags(command)
    .addHelpText(
      'after',
      helpText(
        [
          'Placeholders in --anomaly-map, whose file is never one of the images:\n' +
            '  {name}    name of the image without its extension\n' +
            '  {ext}     its extension\n' +
            '  {folder}  its folder, below the one that all images share\n' +
            'A DICOM file of several frames has a map for each: its number is put before the extension.',
          'A DICOM file is decoded here, and its pixels are sent as rows in every mode but tiles: what else it holds stays ' +
            'here, but for --send-dicom. Each frame is scored by itself.',
          'Ctrl-C stops; what was scored until then is printed and written. Exit codes: 0 all images were ' +
            'scored, 1 some were not, 2 wrong usage, 130 interrupted.',
        ],
        [
          ['salad score chest.png --model chest-pediatric', 'one image'],
          ['salad score images/ --recursive --model chest-adult --csv scores.csv', 'all images of a folder'],
          ['salad score *.png --model chest-adult --report report.html', 'with a page to look through'],
          ["salad score *.png --model chest-adult --anomaly-map 'maps/{name}.png'", 'with maps'],
          ['salad score *.png --model chest-pediatric --json | jq .imageScore', 'for other programs'],
          ['salad score IM000001 --model chest-adult --json --identify', 'a DICOM file'],
          ['salad score chest.png --model models/mine/1', 'with a model that you trained'],
          ['salad score chest.png --target salad.example:50051 --tls --model mine@1', 'on a server'],
        ],
      ),
    )
    .action((paths: string[], flags: ScoreFlags) =>
      untilInterrupted((signal) => score(paths, flags, context, signal)),
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
  const found = await findImageFiles(paths, flags.recursive === true);
  for (const line of found.leftOut) note(`salad: ${printable(line)}`);
  const outputs = await ScoreOutputs.open(flags, found.files, found.files.length + found.failures.length);
  if (found.files.length === 0) {
    for (const { path, error } of found.failures) await outputs.addFailure(path, error);
    process.exitCode = EXIT.usage;
    return;
  }
  const session = await openSession({ ...flags, environment: context.environment, signal });
  try {
    await outputs.begin();
    for (const { path, error } of found.failures) await outputs.addFailure(path, error);
    await scoreFiles(session, found.files, flags, outputs, signal);
  } finally {
    await session.close();
    await outputs.finish();
  }
}

/** One file after the other: a file that fails hurts no other. */
async function scoreFiles(
  session: Session,
  files: ImageFiles['files'],
  flags: ScoreFlags,
  outputs: ScoreOutputs,
  signal: AbortSignal,
): Promise<void> {
  // Lines of results on the same screen would run into the bar.
  const isShown = files.length > 1 && !((flags.json || flags.patches) && process.stdout.isTTY);
  const progress = isShown ? createProgress('scoring', files.length) : undefined;
  try {
    for (const [index, file] of files.entries()) {
      if (outputs.isUseless || signal.aborted) return;
      progress?.update(index, file);
      for await (const result of scoreFile(session, file, { ...flags, selector: session.model, signal })) {
        const { source } = result;
        if (!('error' in result)) {
          await outputs.add({ file, ...result });
          continue;
        }
        if (signal.aborted) return;
        const failure = session.explain(result.error);
        await outputs.addFailure(file, failure, source);
        if (flags.patches || !isGone(failure)) continue;
        note(`salad: the server is gone: ${files.length - index - 1} more images are not scored`);
        return;
      }
      outputs.endFile(file);
    }
    progress?.update(files.length);
  } finally {
    progress?.stop();
  }
}

/** It was tried until the deadline of a file: every other file would wait as long. */
function isGone(failure: unknown): boolean {
  return failure instanceof ServerCallError && failure.status === 'UNAVAILABLE';
}
