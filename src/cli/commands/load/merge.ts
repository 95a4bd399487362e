/** `salad load merge`: the report of several generators together. */
import { writeFile } from 'node:fs/promises';
import type { Command } from 'commander';
import { mergeResults } from '../../../../clients/load/src/index.js';
import { SaladError } from '../../../errors/index.js';
import { numberFrom, wholeNumber } from '../../shared/flags.js';
import { helpText } from '../../shared/help.js';
import { runInterruptible } from '../../shared/interrupt.js';
import { EXIT, printJson } from '../../shared/output.js';
import { prepareFiles } from '../../shared/output-files.js';
import { type ReportFile, readReports, waitForReports } from './files.js';
import { MAX_SECONDS } from './flags.js';
import { printReport } from './print.js';
import { type LoadReport, loadReport, type StepReport, stepReport } from './report.js';
import { parseSlo, type Slo } from './slo.js';

interface MergeFlags {
  readonly slo?: readonly Slo[];
  readonly expect?: number;
  readonly wait: number;
  readonly out?: string;
  readonly json?: boolean;
}

export function registerMerge(load: Command): void {
  load
    .command('merge')
    .summary('add the reports of generators that ran at the same time')
    .description(
      'Adds the reports of generators that loaded one server at the same time, such as those of the pods of a load ' +
        'test. Percentiles are those of all acquisitions together, from the histograms of the reports.',
    )
    .argument('<report...>', 'files of --json or --out, folders of them, or - for lines of standard input')
    .option(
      '--slo <expression>',
      'objective of the merged figures; exit code 1 if it does not hold; repeatable',
      (text: string, earlier: readonly Slo[] = []) => [...earlier, parseSlo(text)],
    )
    .option('--expect <n>', 'number of reports that must be there', wholeNumber(1, 1_000_000))
    .option('--wait <s>', 'longest time to wait for them, in seconds', numberFrom(0, MAX_SECONDS), 0)
    .option('--out <file>', 'write the merged report into this file')
    .option('--json', 'print one JSON object')
    .addHelpText(
      'after',
      helpText(
        [
          'Run the generators with --share, which divides the streams or the rate, and with --align-start, so that they ' +
            'start together. Objectives are checked again, for the merged figures.',
          'Exit codes: 0 success, 1 an objective does not hold or nothing was scored, 2 wrong usage or a report is missing.',
        ],
        [
          ['salad load merge a.json b.json', 'two files'],
          ['salad load merge - <pods.log', 'the logs of the pods of a load test'],
        ],
      ),
    )
    .action((paths: string[], flags: MergeFlags) =>
      runInterruptible((signal) => merge(paths, flags, signal)),
    );
}

async function merge(paths: readonly string[], flags: MergeFlags, signal: AbortSignal): Promise<void> {
  if (flags.out !== undefined) {
    await prepareFiles([{ flag: '--out', path: flags.out, format: 'json' }]);
  }
  const files =
    flags.expect === undefined
      ? await readReports(paths)
      : await waitForReports(paths, flags.expect, flags.wait, signal);
  if (flags.expect !== undefined && files.length !== flags.expect) {
    throw usageError(`${files.length} reports are there, not ${flags.expect}`);
  }
  const report = mergeReports(files, flags.slo ?? []);
  if (flags.out !== undefined) await writeFile(flags.out, `${JSON.stringify(report)}\n`);
  if (flags.json) printJson(report);
  else printReport(report);
  if (isFailure(report)) process.exitCode = EXIT.failure;
}

/** Whether no figures meet the objectives, or nothing was scored. */
export function isFailure({ slo, sustained, acquisitions }: LoadReport): boolean {
  return slo.violated.length > 0 || sustained === null || acquisitions.ok === 0;
}

function mergeReports(files: readonly ReportFile[], slos: readonly Slo[]): LoadReport {
  const reports = files.map(({ report }) => report);
  const [first] = reports;
  if (first === undefined) throw usageError('there is no report');
  const stepLists = reports.map((report): readonly StepReport[] => report.steps ?? [report]);
  // A generator that met a violated objective earlier than the others has fewer steps.
  const count = Math.min(...stepLists.map((steps) => steps.length));
  const steps = Array.from({ length: count }, (_, index) => mergeStep(files, stepLists, index, slos));
  const merged = loadReport(steps, first.steps !== undefined, {
    startedAt: first.startedAt,
    server: first.server,
    settings: { ...first.settings, share: undefined, reports: files.length },
  });
  return { ...merged, warnings: [...merged.warnings, ...startWarnings(reports)] };
}

function mergeStep(
  files: readonly ReportFile[],
  stepLists: readonly (readonly StepReport[])[],
  index: number,
  slos: readonly Slo[],
): StepReport {
  const parts = stepLists.map((steps) => steps[index] as StepReport);
  const setting = JSON.stringify(parts[0]?.step);
  const other = parts.findIndex((part) => JSON.stringify(part.step) !== setting);
  if (other >= 0) {
    const [name, otherName] = [files[0]?.name, files[other]?.name];
    throw usageError(`${name} and ${otherName} are of different loads: their streams or rates differ`);
  }
  try {
    return stepReport(parts[0]?.step ?? {}, mergeResults(parts), slos);
  } catch (error) {
    throw usageError(`the reports cannot be merged: ${error instanceof Error ? error.message : error}`);
  }
}

/** Clocks of machines differ by some of this. */
const START_TOLERANCE_SECONDS = 0.25;

/** Generators that did not run at the same time did not load the server together. */
function startWarnings(reports: readonly LoadReport[]): readonly string[] {
  const starts = reports.map(({ startedAt }) => Date.parse(startedAt));
  const apartSeconds = (Math.max(...starts) - Math.min(...starts)) / 1000;
  const shortest = Math.min(...reports.map(({ seconds }) => seconds));
  if (apartSeconds <= Math.max(START_TOLERANCE_SECONDS, shortest / 10)) return [];
  return [
    `the generators started ${apartSeconds.toFixed(1)} s apart, so that they did not load the server together all the ` +
      'time: use --align-start',
  ];
}

function usageError(message: string): SaladError {
  return new SaladError('CONFIGURATION_INVALID', message);
}
