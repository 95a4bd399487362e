/**
 * An open-loop load generator for salad-serve. Every latency counts from the scheduled time of sending the pixels, so
 * that a server that falls behind cannot hide it by slowing the client down (no coordinated omission).
 */
import { setMaxListeners } from 'node:events';
import { setImmediate as nextTurn, setTimeout as sleep } from 'node:timers/promises';
import {
  type AcquisitionAccepted,
  type AcquisitionAggregate,
  type SaladClient,
  SaladClientError,
  Source,
} from '../../typescript/src/index.js';
import { jainIndex, type LatencySummary, poissonGaps } from './statistics.js';
import { type Schedule, Tally, TileLatencies } from './tally.js';
import { pacedChunks, type Workload } from './workload.js';

export type { Workload } from './workload.js';

export type Arrivals =
  /**
   * Each stream starts its next acquisition `intervalMs` after the scheduled start of the last one. 0: as soon as the
   * last one ended; then a refused acquisition is retried after the delay that the server asks for.
   */
  | { readonly kind: 'streams'; readonly count: number; readonly intervalMs: number }
  /** A Poisson process of acquisitions, independent of the server. */
  | { readonly kind: 'poisson'; readonly ratePerSecond: number; readonly seed: number };

export interface LoadOptions {
  /** One client per connection, used in turn. */
  readonly clients: readonly SaladClient[];
  readonly model: { readonly name: string; readonly version?: number };
  readonly arrivals: Arrivals;
  readonly workload: Workload;
  /** Measured time, in which new acquisitions start. The run ends when the last of them has ended. */
  readonly durationMs: number;
  /** Time before the measured time; acquisitions that start in it are not counted. */
  readonly warmUpMs: number;
  readonly timeoutMs: number;
  /** Ends the run early: running acquisitions are cancelled and not counted. */
  readonly signal?: AbortSignal;
  readonly onProgress?: (done: number, failed: number) => void;
  /** Called before every retry after a refusal, with the number of the stream. */
  readonly onRetry?: (stream: number) => void;
}

export interface LoadResult {
  readonly acquisitions: LatencySummary & {
    readonly ok: number;
    readonly failed: number;
    /** Acquisitions that ended with RESOURCE_EXHAUSTED or UNAVAILABLE: the server asked to try again later. */
    readonly refused: number;
    /** Retries after a refusal, of streams without an interval. */
    readonly retries: number;
    /** Time from the scheduled start to the refusal. */
    readonly refusals: LatencySummary;
    readonly perSecond: number;
    /** Failures by gRPC status. */
    readonly byStatus: Readonly<Record<string, number>>;
  };
  readonly tiles: LatencySummary & { readonly perSecond: number };
  /** Jain's fairness index over the scored tiles of each stream; null for Poisson arrivals. */
  readonly jain: number | null;
  /** Mean fill of the tiles' batches, as a share of the batch limit, reported by the server. */
  readonly batchFill: number;
  /** Measured time; shorter than the duration if the signal ended the run. */
  readonly seconds: number;
}

/** Statuses with which a server asks the client to try again later. */
const REFUSALS: ReadonlySet<string> = new Set(['RESOURCE_EXHAUSTED', 'UNAVAILABLE']);

/** Runs the load and returns its figures. A failed acquisition is counted, not thrown. */
export async function runLoad(options: LoadOptions): Promise<LoadResult> {
  const tally = new Tally();
  // Every running acquisition listens to the same signal; Node warns of a leak above ten listeners.
  if (options.signal) setMaxListeners(0, options.signal);
  const startMs = performance.now();
  const measureFromMs = startMs + options.warmUpMs;
  const measureUntilMs = measureFromMs + options.durationMs;
  let endMs = measureUntilMs;
  options.signal?.addEventListener('abort', () => {
    endMs = Math.min(measureUntilMs, performance.now());
  });
  const running = new Set<Promise<void>>();
  const launch = (scheduledMs: number, stream: number): Promise<void> => {
    const client = options.clients[stream % options.clients.length] as SaladClient;
    const isCounted = scheduledMs >= measureFromMs;
    return acquire(client, options, { scheduledMs, stream, isCounted, measureFromMs, measureUntilMs }, tally);
  };
  if (options.arrivals.kind === 'streams') {
    const { count, intervalMs } = options.arrivals;
    for (let stream = 0; stream < count; stream++) {
      tally.tilesPerStream.push(0);
      // The starts are spread over one interval, or over half the warm-up for streams without an interval: a fair
      // server would keep streams that start together in step, and all of them would use the network at once.
      const spreadMs = intervalMs > 0 ? intervalMs : options.warmUpMs / 2;
      running.add(
        runStream(
          startMs + (stream / count) * spreadMs,
          intervalMs,
          measureUntilMs,
          (scheduledMs) => launch(scheduledMs, stream),
          options,
        ),
      );
    }
  } else {
    const nextGapMs = poissonGaps(options.arrivals.ratePerSecond, options.arrivals.seed);
    let stream = 0;
    let scheduledMs = startMs + nextGapMs();
    for (; scheduledMs < measureUntilMs && !options.signal?.aborted; scheduledMs += nextGapMs()) {
      await waitUntil(scheduledMs, options.signal);
      if (options.signal?.aborted) break;
      const acquisition: Promise<void> = launch(scheduledMs, stream++).finally(() =>
        running.delete(acquisition),
      );
      running.add(acquisition);
    }
  }
  await Promise.all(running);
  return resultOf(tally, options.arrivals, Math.max(0, endMs - measureFromMs) / 1000);
}

/**
 * Returns at the given time (of `performance.now`), or as soon as the signal aborts. Without a timer if the time has
 * passed: a timer takes at least a millisecond, which would delay a schedule that is behind at every arrival.
 */
async function waitUntil(timeMs: number, signal: AbortSignal | undefined): Promise<void> {
  const waitMs = timeMs - performance.now();
  if (waitMs <= 0) await nextTurn();
  else await pause(waitMs, signal);
}

/** Returns after the given time, or as soon as the signal aborts. */
async function pause(ms: number, signal: AbortSignal | undefined): Promise<void> {
  await sleep(ms, undefined, signal ? { signal } : {}).catch(() => {});
}

/** Runs the schedule of one stream. With an interval, a slow server does not move the scheduled starts. */
async function runStream(
  firstMs: number,
  intervalMs: number,
  measureUntilMs: number,
  launch: (scheduledMs: number) => Promise<void>,
  options: LoadOptions,
): Promise<void> {
  let scheduledMs = firstMs;
  while (scheduledMs < measureUntilMs && !options.signal?.aborted) {
    await pause(Math.max(0, scheduledMs - performance.now()), options.signal);
    if (options.signal?.aborted) return;
    await launch(scheduledMs);
    scheduledMs = intervalMs > 0 ? scheduledMs + intervalMs : performance.now();
  }
}

let nextId = 0;

async function acquire(
  client: SaladClient,
  options: LoadOptions,
  schedule: Schedule,
  tally: Tally,
): Promise<void> {
  const { workload } = options;
  const header = {
    acquisitionId: `load-${process.pid}-${nextId++}`,
    model: options.model,
    image: { rows: workload.size, columns: workload.size, bitsAllocated: 8 },
    source: workload.mode === 'rows' ? Source.SOURCE_ROWS : Source.SOURCE_TILES,
    options: { patchScores: true },
  };
  let tileLatencies: TileLatencies | undefined;
  try {
    const call = { timeoutMs: options.timeoutMs, ...(options.signal ? { signal: options.signal } : {}) };
    const source = (accepted: AcquisitionAccepted) => {
      tileLatencies = new TileLatencies(workload, accepted, schedule, tally);
      return pacedChunks(workload, accepted, schedule.scheduledMs);
    };
    const aggregate = await client.scoreAcquisition(header, source, {
      ...call,
      // No retries with an open-loop schedule: refusals are one of its figures.
      ...(isClosedLoop(options.arrivals) ? {} : { retry: false }),
      onRetry: () => {
        if (schedule.isCounted) tally.retries++;
        options.onRetry?.(schedule.stream);
      },
      onEvent: (event) => {
        if (event.type === 'patches') tileLatencies?.record(event.patches);
      },
    });
    if (schedule.isCounted) countAcquisition(aggregate, schedule, tally);
  } catch (error) {
    if (options.signal?.aborted) return;
    if (schedule.isCounted) {
      const status = error instanceof SaladClientError ? error.status : 'CLIENT_ERROR';
      tally.countFailure(status);
      if (REFUSALS.has(status)) tally.refusals.add(performance.now() - schedule.scheduledMs);
    }
  }
  options.onProgress?.(tally.acquisitions.count, tally.failed);
}

function isClosedLoop(arrivals: Arrivals): boolean {
  return arrivals.kind === 'streams' && arrivals.intervalMs === 0;
}

function countAcquisition(aggregate: AcquisitionAggregate, { scheduledMs }: Schedule, tally: Tally): void {
  tally.acquisitions.add(performance.now() - scheduledMs);
  tally.batchFillSum += aggregate.timings?.batchFill ?? 0;
}

/** @param seconds measured time; 0 if the run ended in its warm-up */
function resultOf(tally: Tally, arrivals: Arrivals, seconds: number): LoadResult {
  const perSecond = (count: number) => (seconds > 0 ? count / seconds : 0);
  const refused = tally.refusals.count;
  const ok = tally.acquisitions.count;
  return {
    acquisitions: {
      ok,
      failed: tally.failed - refused,
      refused,
      retries: tally.retries,
      refusals: tally.refusals.summary(),
      perSecond: perSecond(ok),
      byStatus: tally.byStatus,
      ...tally.acquisitions.summary(),
    },
    tiles: { perSecond: perSecond(tally.tileCount), ...tally.tiles.summary() },
    jain: arrivals.kind === 'streams' ? jainIndex(tally.tilesPerStream) : null,
    batchFill: ok > 0 ? tally.batchFillSum / ok : Number.NaN,
    seconds,
  };
}
