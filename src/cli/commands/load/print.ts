/** Prints the figures of a load, human-readable. */
import type { LoadResult } from '../../../../clients/load/src/index.js';
import { note, print, table } from '../../shared/output.js';
import type { LoadReport, StepReport } from './report.js';

export function printReport(report: LoadReport): void {
  if (report.steps !== undefined) printSteps(report.steps, report.sustained ?? null);
  else printFigures(report);
  for (const warning of report.warnings) note(`salad: ${warning}`);
}

function printFigures(report: LoadReport): void {
  const row = (name: string, figures: LoadResult['tiles'] | LoadResult['acquisitions']) => [
    name,
    figures.perSecond.toFixed(1),
    ...[figures.p50Ms, figures.p90Ms, figures.p99Ms, figures.p999Ms, figures.maxMs].map((ms) =>
      formatFigure(ms, 1),
    ),
  ];
  print(
    table(
      ['', 'per second', 'p50 ms', 'p90 ms', 'p99 ms', 'p99.9 ms', 'max ms'],
      [row('tiles', report.tiles), row('acquisitions', report.acquisitions), ...kindRows(report)],
    ),
  );
  const { ok, failed, refused, retries, byStatus } = report.acquisitions;
  const retryText = retries > 0 ? `, ${retries} retries after a refusal` : '';
  const statuses = Object.entries(byStatus).map(([status, count]) => `${count} ${status}`);
  const statusText = statuses.length === 0 ? '' : ` (${statuses.join(', ')})`;
  print(`acquisitions: ${ok} ok, ${refused} refused, ${failed} failed${statusText}${retryText}`);
  const jain = report.jain === null ? '' : `, Jain's fairness index ${formatFigure(report.jain, 3)}`;
  const stable = report.stable === null ? '' : report.stable ? ' (stable)' : ' (not stable until then)';
  print(
    `batch fill ${formatFigure(100 * report.batchFill, 0)} %${jain}; measured for ${report.seconds.toFixed(1)} s${stable}`,
  );
  const { processes, cpuCores, startLateness } = report.generator;
  print(
    `generator: ${processes} ${processes === 1 ? 'process' : 'processes'}, ${cpuCores.toFixed(2)} cores, started ` +
      `acquisitions ${formatFigure(startLateness.p99Ms, 1)} ms late (p99)`,
  );
}

/** A line for each kind of a mixed load. */
function kindRows({ kinds, settings }: LoadReport): readonly (readonly string[])[] {
  const { mix } = settings;
  if (!Array.isArray(mix)) return [];
  return kinds.map((figures, index) => [
    `  ${String(mix[index] ?? index)}`,
    figures.perSecond.toFixed(1),
    ...[figures.p50Ms, figures.p90Ms, figures.p99Ms, figures.p999Ms, figures.maxMs].map((ms) =>
      formatFigure(ms, 1),
    ),
  ]);
}

function printSteps(steps: readonly StepReport[], sustained: number | null): void {
  print(
    table(
      ['step', 'acquisitions/s', 'tiles/s', 'p50 ms', 'p99 ms', 'refused', 'failed', 'objectives'],
      steps.map(({ step, acquisitions, tiles, slo }) => [
        stepName(step),
        acquisitions.perSecond.toFixed(1),
        tiles.perSecond.toFixed(1),
        formatFigure(acquisitions.p50Ms, 1),
        formatFigure(acquisitions.p99Ms, 1),
        String(acquisitions.refused),
        String(acquisitions.failed),
        acquisitions.ok === 0
          ? 'nothing was scored'
          : slo.violated.length === 0
            ? 'hold'
            : `violated: ${slo.violated.join(', ')}`,
      ]),
    ),
  );
  const best = sustained === null ? undefined : steps[sustained];
  print(
    best === undefined
      ? 'the first step does not meet the objectives'
      : `the last step that met every objective: ${stepName(best.step)}`,
  );
}

function stepName({ streams, ratePerSecond }: StepReport['step']): string {
  return streams === undefined ? `${ratePerSecond}/s` : `${streams} ${streams === 1 ? 'stream' : 'streams'}`;
}

/** Formats a number; a dash for a figure that could not be measured (NaN, or null from a file). */
export function formatFigure(value: number | null, digits: number): string {
  return value === null || Number.isNaN(value) ? '-' : value.toFixed(digits);
}
