/** Runs a load: schedules the acquisitions and measures them. */
import { setMaxListeners } from 'node:events';
import { setImmediate as nextTurn, setTimeout as sleep } from 'node:timers/promises';
import type { SaladClient } from '../../typescript/src/index.js';
import { type AcquireOptions, acquire } from './acquire.js';
import { GeneratorUsage } from './generator.js';
import { createKindCycle } from './kinds.js';
import { type LoadResult, resultOf } from './result.js';
import { Series, type StopWhenStable } from './series.js';
import { poissonGaps } from './statistics.js';
import { Tally } from './tally.js';
import type { LoadKind } from './workload.js';

export type Arrivals =
  /**
   * Each stream starts its next acquisition `intervalMs` after the scheduled start of the last one. 0: as soon as the
   * last one ended; then a refused acquisition is retried after the delay that the server asks for.
   */
  | { readonly kind: 'streams'; readonly count: number; readonly intervalMs: number }
  /** A Poisson process of acquisitions, independent of the server. */
  | { readonly kind: 'poisson'; readonly ratePerSecond: number; readonly seed: number };

export interface LoadOptions extends Pick<AcquireOptions, 'onRetry' | 'onRequest'> {
  /** One client per connection, used in turn. */
  readonly clients: readonly SaladClient[];
  /** The kinds of acquisitions, mixed by their weights; at least one. */
  readonly kinds: readonly LoadKind[];
  readonly arrivals: Arrivals;
  /** Measured time, in which new acquisitions start. The run ends when the last of them has ended. */
  readonly durationMs: number;
  /** Time before the measured time; acquisitions that start in it are not counted. */
  readonly warmUpMs: number;
  readonly timeoutMs: number;
  /** Length of a window of the time series. @default 1000, longer above 300 windows */
  readonly windowMs?: number;
  /** Ends the measured time as soon as the figures are stable; `durationMs` remains the longest. */
  readonly stopWhenStable?: StopWhenStable;
  /** Ends the run early: running acquisitions are cancelled and not counted. */
  readonly signal?: AbortSignal;
  readonly onProgress?: (done: number, failed: number) => void;
}

const WINDOWS = 300;

/** Length of the windows of a run, in ms, where the options name none. */
export function defaultWindowMs(durationMs: number): number {
  return Math.max(1000, durationMs / WINDOWS);
}

/** Runs the load and returns its figures. A failed acquisition is counted, not thrown. */
export async function runLoad(options: LoadOptions): Promise<LoadResult> {
  const tally = new Tally(options.kinds.length);
  const nextKind = createKindCycle(options.kinds);
  // Every running acquisition listens to the same signal; Node warns of a leak above ten listeners.
  if (options.signal) setMaxListeners(0, options.signal);
  const startMs = performance.now();
  const measureFromMs = startMs + options.warmUpMs;
  const series = new Series(measureFromMs, options.windowMs ?? defaultWindowMs(options.durationMs));
  const schedule = new RunSchedule(measureFromMs + options.durationMs, options.signal);
  const usage = new GeneratorUsage();
  const timer = setInterval(() => {
    if (!series.advance(Math.min(performance.now(), schedule.endMs))) return;
    if (options.stopWhenStable && series.isStable(options.stopWhenStable)) schedule.stop();
  }, 20);
  const launch = async (scheduledMs: number, stream: number): Promise<void> => {
    const client = options.clients[stream % options.clients.length] as SaladClient;
    const times = { scheduledMs, stream, isCounted: scheduledMs >= measureFromMs, measureFromMs };
    const measureUntilMs = () => schedule.endMs;
    const acquireOptions = { ...options, retries: isClosedLoop(options.arrivals) };
    await acquire(client, nextKind(), acquireOptions, { ...times, measureUntilMs }, tally, series);
    options.onProgress?.(tally.total.acquisitions.count, tally.total.failed);
  };
  try {
    await runArrivals(options, startMs, schedule, tally, launch);
  } finally {
    clearInterval(timer);
  }
  series.finish(Math.max(measureFromMs, schedule.endMs));
  return resultOf(tally, {
    seconds: Math.max(0, schedule.endMs - measureFromMs) / 1000,
    hasStreams: options.arrivals.kind === 'streams',
    stable: options.stopWhenStable === undefined ? null : schedule.isStopped,
    series: series.rows,
    generator: usage.end(tally.startLateness.summary()),
  });
}

/** The end of the measured time, which an interrupt and the stop criterion move to an earlier time. */
class RunSchedule {
  endMs: number;
  isStopped = false;
  readonly #stop = new AbortController();

  constructor(
    untilMs: number,
    readonly signal: AbortSignal | undefined,
  ) {
    this.endMs = untilMs;
    setMaxListeners(0, this.#stop.signal);
    const onAbort = () => {
      this.endMs = Math.min(this.endMs, performance.now());
      this.#stop.abort();
    };
    if (signal?.aborted) onAbort();
    else signal?.addEventListener('abort', onAbort, { once: true });
  }

  /** Ends the measured time now; running acquisitions end by themselves. */
  stop(): void {
    if (this.#stop.signal.aborted) return;
    this.isStopped = true;
    this.endMs = Math.min(this.endMs, performance.now());
    this.#stop.abort();
  }

  /** Whether no acquisition starts any more at this scheduled time. */
  hasEnded(scheduledMs: number): boolean {
    return scheduledMs >= this.endMs || this.#stop.signal.aborted;
  }

  /**
   * Returns at the given time (of `performance.now`), or as soon as the run ends. Without a timer if the time has
   * passed: a timer takes at least a millisecond, which would delay a schedule that is behind at every arrival.
   */
  async waitUntil(timeMs: number): Promise<void> {
    const waitMs = timeMs - performance.now();
    if (waitMs <= 0) await nextTurn();
    else await sleep(waitMs, undefined, { signal: this.#stop.signal }).catch(() => {});
  }
}

async function runArrivals(
  { arrivals, warmUpMs }: LoadOptions,
  startMs: number,
  schedule: RunSchedule,
  tally: Tally,
  launch: (scheduledMs: number, stream: number) => Promise<void>,
): Promise<void> {
  const running = new Set<Promise<void>>();
  if (arrivals.kind === 'streams') {
    const { count, intervalMs } = arrivals;
    for (let stream = 0; stream < count; stream++) {
      tally.tilesPerStream.push(0);
      // The starts are spread over one interval, or over half the warm-up for streams without an interval: a fair
      // server would keep streams that start together in step, and all of them would use the network at once.
      const spreadMs = intervalMs > 0 ? intervalMs : warmUpMs / 2;
      const firstMs = startMs + (stream / count) * spreadMs;
      running.add(runStream(firstMs, intervalMs, schedule, (scheduledMs) => launch(scheduledMs, stream)));
    }
  } else {
    const nextGapMs = poissonGaps(arrivals.ratePerSecond, arrivals.seed);
    let stream = 0;
    for (let scheduledMs = startMs + nextGapMs(); ; scheduledMs += nextGapMs()) {
      if (schedule.hasEnded(scheduledMs)) break;
      await schedule.waitUntil(scheduledMs);
      if (schedule.hasEnded(scheduledMs)) break;
      const acquisition: Promise<void> = launch(scheduledMs, stream++).finally(() =>
        running.delete(acquisition),
      );
      running.add(acquisition);
    }
  }
  await Promise.all(running);
}

/** Runs the schedule of one stream. With an interval, a slow server does not move the scheduled starts. */
async function runStream(
  firstMs: number,
  intervalMs: number,
  schedule: RunSchedule,
  launch: (scheduledMs: number) => Promise<void>,
): Promise<void> {
  let scheduledMs = firstMs;
  while (!schedule.hasEnded(scheduledMs)) {
    await schedule.waitUntil(scheduledMs);
    if (schedule.hasEnded(scheduledMs)) return;
    await launch(scheduledMs);
    scheduledMs = intervalMs > 0 ? scheduledMs + intervalMs : performance.now();
  }
}

function isClosedLoop(arrivals: Arrivals): boolean {
  return arrivals.kind === 'streams' && arrivals.intervalMs === 0;
}
