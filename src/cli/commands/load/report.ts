/** The report of a load: its figures, everything that was set, what was loaded, and what to be careful about. */
import type { LoadResult } from '../../../../clients/load/src/index.js';
import type { Model } from '../../../../clients/typescript/src/index.js';
import { type Slo, violatedSlos } from './slo.js';

/** The arrivals of one step of a ramp or a sweep, or of a load without steps. */
export interface StepSetting {
  readonly streams?: number;
  readonly ratePerSecond?: number;
}

export interface StepReport extends LoadResult {
  readonly step: StepSetting;
  readonly slo: { readonly violated: readonly string[] };
}

export interface ServedModel {
  readonly name: string;
  readonly version: number;
  readonly bundleSha256: string;
  readonly engine: string;
}

export interface LoadReport extends StepReport {
  /** Of a ramp or a sweep, in order. The figures of the report itself are those of one step, see `sustained`. */
  readonly steps?: readonly StepReport[];
  /** Of a ramp or a sweep: index of the last step that met all objectives before one did not; null if the first did not. */
  readonly sustained?: number | null;
  readonly warnings: readonly string[];
  /** When the measurement began, ISO 8601. */
  readonly startedAt: string;
  readonly server: { readonly target: string; readonly models: readonly ServedModel[] };
  /** Every setting of the load, by the names of its flags. */
  readonly settings: Readonly<Record<string, unknown>>;
}

export type ReportContext = Pick<LoadReport, 'startedAt' | 'server' | 'settings'>;

export function stepReport(step: StepSetting, result: LoadResult, slos: readonly Slo[]): StepReport {
  return { ...result, step, slo: { violated: violatedSlos(slos, result).map(({ text }) => text) } };
}

/** @param steps at least one; several only of a ramp or a sweep */
export function loadReport(
  steps: readonly StepReport[],
  hasSteps: boolean,
  context: ReportContext,
): LoadReport {
  const failedAt = steps.findIndex((step) => !isMet(step));
  const sustained = failedAt < 0 ? steps.length - 1 : failedAt - 1;
  const shown = steps[Math.max(0, sustained)];
  if (shown === undefined) throw new Error('a load has at least one step');
  return {
    ...shown,
    warnings: warningsOf(steps),
    ...(hasSteps ? { sustained: sustained < 0 ? null : sustained, steps } : {}),
    ...context,
  };
}

/** Whether the step met every objective; a step in which nothing was scored did not. */
export function isMet({ slo, acquisitions }: StepReport): boolean {
  return slo.violated.length === 0 && acquisitions.ok > 0;
}

/** Above this start lateness, the generator adds to the latencies that it measures. */
const LATENESS_P99_MS = 10;
const BUSY_SHARE = 0.9;

/** Each warning appears once, with the highest value of all steps. */
function warningsOf(steps: readonly StepReport[]): readonly string[] {
  const latenessMs = Math.max(...steps.map(({ generator }) => generator.startLateness.p99Ms || 0));
  const busy = Math.max(...steps.map(({ generator }) => generator.eventLoopUtilization));
  const warnings: string[] = [];
  if (latenessMs > LATENESS_P99_MS) {
    warnings.push(
      `the generator itself started acquisitions late (p99 ${latenessMs.toFixed(0)} ms), which is part of the ` +
        'latencies: use more --processes or another machine',
    );
  }
  if (busy > BUSY_SHARE) {
    warnings.push(
      `the generator was busy for ${(100 * busy).toFixed(0)} % of the time and may be the limit: use more --processes ` +
        'or another machine',
    );
  }
  return warnings;
}

export function servedModel({ identity, engine }: Model): ServedModel {
  const { name = '', version = 0, bundleSha256 = '' } = identity ?? {};
  return { name, version, bundleSha256, engine };
}
