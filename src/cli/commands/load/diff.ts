/** `salad load diff`: what changed between two reports, and how certain that is. */
import type { Command } from 'commander';
import {
  type Comparison,
  compareSeries,
  type LoadResult,
  METRICS,
} from '../../../../clients/load/src/index.js';
import { SaladError } from '../../../errors/index.js';
import { wholeNumber } from '../../shared/flags.js';
import { helpText } from '../../shared/help.js';
import { note, print, printJson, table } from '../../shared/output.js';
import { MAX_SEED } from '../phantom.js';
import { readReports } from './files.js';
import { formatFigure } from './print.js';
import type { LoadReport } from './report.js';

interface DiffFlags {
  readonly seed: number;
  readonly json?: boolean;
}

export function registerDiff(load: Command): void {
  load
    .command('diff')
    .summary('compare two reports, with 95 % intervals')
    .description(
      'Compares the report B with the report A: the ratio of each figure with its 95 % interval. An interval that does ' +
        'not contain 1 is a change that the variation within the two runs does not explain.',
    )
    .argument('<a>', 'file of --json or --out')
    .argument('<b>', 'file of --json or --out')
    .option('--seed <n>', 'seed of the random draws of the intervals', wholeNumber(0, MAX_SEED), 1)
    .option('--json', 'print one JSON object')
    .addHelpText(
      'after',
      helpText(
        [
          'The intervals come from a bootstrap: the windows of the time series of each run are drawn again and again. They ' +
            'know nothing of what differs from run to run, such as other programs on the machine: to be sure, measure ' +
            'A and B in turn, several times. At least 5 windows are needed; 30 and more are better.',
          'Of a ramp or a sweep, the steps that both reports have are compared one by one.',
          'Exit codes: 0 the reports were compared, whatever changed; 2 wrong usage or no report.',
        ],
        [['salad load diff before.json after.json', 'compare two runs']],
      ),
    )
    .action((a: string, b: string, flags: DiffFlags) => diff(a, b, flags));
}

interface StepComparison extends Comparison {
  readonly step: LoadReport['step'];
}

async function diff(a: string, b: string, flags: DiffFlags): Promise<void> {
  const [before, after] = [await readOne(a), await readOne(b)];
  const pairs = pairsOf(before, after);
  if (pairs.length === 0) throw usageError(`${a} and ${b} have no step in common`);
  const comparisons = pairs.map(([first, second]): StepComparison => {
    const step = first.step;
    return { step, ...compare(a, b, first, second, flags.seed) };
  });
  const settings = differences(before.settings, after.settings);
  const [only] = comparisons;
  if (flags.json) {
    const isRamp = before.steps !== undefined || after.steps !== undefined;
    printJson({ ...(isRamp ? { steps: comparisons } : only), settings });
    return;
  }
  for (const comparison of comparisons) printComparison(comparison, comparisons.length > 1);
  for (const [name, values] of Object.entries(settings)) {
    note(`salad: the reports differ in ${name}: ${JSON.stringify(values.a)} and ${JSON.stringify(values.b)}`);
  }
}

async function readOne(path: string): Promise<LoadReport> {
  const [file, another] = await readReports([path]);
  if (file === undefined || another !== undefined) {
    throw usageError(`${path} must hold one report; salad load merge adds several`);
  }
  return file.report;
}

function pairsOf(a: LoadReport, b: LoadReport): readonly (readonly [StepPart, StepPart])[] {
  if (a.steps === undefined && b.steps === undefined) return [[a, b]];
  const others = b.steps ?? [b];
  return (a.steps ?? [a]).flatMap((step) => {
    const same = others.find((other) => JSON.stringify(other.step) === JSON.stringify(step.step));
    return same === undefined ? [] : [[step, same] as const];
  });
}

type StepPart = Pick<LoadResult, 'series'> & Pick<LoadReport, 'step'>;

function compare(a: string, b: string, first: StepPart, second: StepPart, seed: number): Comparison {
  try {
    return compareSeries(first.series, second.series, seed);
  } catch (error) {
    throw usageError(`${a} and ${b} cannot be compared: ${error instanceof Error ? error.message : error}`);
  }
}

/** Settings with different values: what was measured may differ. */
function differences(
  a: LoadReport['settings'],
  b: LoadReport['settings'],
): Readonly<Record<string, { readonly a: unknown; readonly b: unknown }>> {
  const names = [...new Set([...Object.keys(a), ...Object.keys(b)])];
  return Object.fromEntries(
    names
      .filter((name) => JSON.stringify(a[name]) !== JSON.stringify(b[name]))
      .map((name) => [name, { a: a[name] ?? null, b: b[name] ?? null }]),
  );
}

function printComparison({ step, windows, metrics }: StepComparison, isNamed: boolean): void {
  if (isNamed)
    print(`${step.streams === undefined ? `${step.ratePerSecond}/s` : `${step.streams} streams`}:`);
  print(
    table(
      ['', 'A', 'B', 'B / A', '95 % interval', ''],
      METRICS.map((name) => {
        const { a, b, ratio, ratioCi95, isChanged } = metrics[name];
        const [low, high] = ratioCi95;
        const interval = `${formatFigure(low, 3)} to ${formatFigure(high, 3)}`;
        const change = isChanged ? 'changed' : 'no change shown';
        return [name, formatFigure(a, 2), formatFigure(b, 2), formatFigure(ratio, 3), interval, change];
      }),
    ),
  );
  print(`windows: ${windows.a} of A, ${windows.b} of B`);
}

function usageError(message: string): SaladError {
  return new SaladError('CONFIGURATION_INVALID', message);
}
