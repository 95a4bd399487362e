/** Runs the steps of a load: one, or those of a ramp or a sweep. */
import { setTimeout as sleep } from 'node:timers/promises';
import {
  type Arrivals,
  defaultWindowMs,
  type LoadJob,
  type LoadKind,
  type RequestRecord,
  runProcesses,
} from '../../../../clients/load/src/index.js';
import { createProgress } from '../../shared/output.js';
import type { Session } from '../../shared/session.js';
import type { LoadFlags } from './flags.js';
import { isMet, type StepReport, type StepSetting, stepReport } from './report.js';

const DEFAULT_STREAMS = 8;

export function stepsOf(flags: LoadFlags): readonly StepSetting[] {
  if (flags.ramp !== undefined) return flags.ramp.map((ratePerSecond) => ({ ratePerSecond }));
  if (flags.sweep !== undefined) return flags.sweep.map((streams) => ({ streams }));
  if (flags.rate !== undefined) return [{ ratePerSecond: flags.rate }];
  return [{ streams: flags.streams ?? DEFAULT_STREAMS }];
}

export function windowMsOf({ window, duration }: LoadFlags): number {
  return window === undefined ? defaultWindowMs(duration * 1000) : window * 1000;
}

/**
 * Returns the steps that were measured: after one that does not meet its objectives, or after an interrupt, none begins.
 * @param kinds what is sent
 */
export async function measureSteps(
  session: Session,
  flags: LoadFlags,
  kinds: readonly LoadKind[],
  signal: AbortSignal,
  onRequest: ((record: RequestRecord) => void) | undefined,
): Promise<readonly StepReport[]> {
  const steps = stepsOf(flags);
  const secondsOfStep = flags.warmUp + flags.duration;
  const progress = createProgress('load, seconds', Math.round(secondsOfStep * steps.length));
  const reports: StepReport[] = [];
  try {
    for (const [index, step] of steps.entries()) {
      if (signal.aborted && reports.length > 0) break;
      const startMs = performance.now();
      const result = await runProcesses(jobOf(session, flags, kinds, step, onRequest), flags.processes, {
        signal,
        ...(onRequest === undefined ? {} : { onRequest }),
        ...(flags.share === undefined ? {} : { share: flags.share }),
        onProgress: (done, failed) => {
          const seconds = Math.min(secondsOfStep, (performance.now() - startMs) / 1000);
          progress.update(Math.round(index * secondsOfStep + seconds), `${done} done, ${failed} failed`);
        },
      });
      const report = stepReport(step, result, flags.slo ?? []);
      reports.push(report);
      if (!isMet(report)) break;
    }
    return reports;
  } finally {
    progress.stop();
  }
}

function jobOf(
  session: Session,
  flags: LoadFlags,
  kinds: readonly LoadKind[],
  step: StepSetting,
  onRequest: unknown,
): LoadJob {
  return {
    target: session.target,
    clientOptions: session.clientOptions,
    connections: flags.connections,
    kinds,
    arrivals: arrivalsOf(step, flags),
    durationMs: flags.duration * 1000,
    warmUpMs: flags.warmUp * 1000,
    windowMs: windowMsOf(flags),
    timeoutMs: flags.timeoutMs,
    reportsRequests: onRequest !== undefined,
    ...(flags.stable === undefined ? {} : { stopWhenStable: { percent: flags.stable } }),
  };
}

function arrivalsOf({ streams, ratePerSecond }: StepSetting, { seed, intervalMs }: LoadFlags): Arrivals {
  if (ratePerSecond !== undefined) return { kind: 'poisson', ratePerSecond, seed };
  return { kind: 'streams', count: streams ?? DEFAULT_STREAMS, intervalMs };
}

/** Waits until the time of day is a multiple of `seconds`, or until the signal aborts. */
export async function alignStart(seconds: number, signal: AbortSignal): Promise<void> {
  const periodMs = seconds * 1000;
  const waitMs = periodMs - (Date.now() % periodMs);
  await sleep(waitMs, undefined, { signal }).catch(() => {});
}
