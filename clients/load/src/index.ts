/**
 * An open-loop load client for salad-serve. Every latency counts from the time at which the pixels were
 * *meant* to be sent: a server that falls behind cannot hide it by slowing the client down (no coordinated
 * omission).
 */
import { setMaxListeners } from 'node:events';
import { setImmediate as nextTurn, setTimeout as sleep } from 'node:timers/promises';
import {
  type AcquisitionAccepted,
  type AcquisitionAggregate,
  type PatchScore,
  type SaladClient,
  SaladClientError,
  Source,
} from '../../typescript/src/index.js';
import { jainIndex, Latencies, type LatencySummary, poissonGaps } from './statistics.js';
import { paced, readyShares, type Workload } from './workload.js';

export type { Workload } from './workload.js';

export type Arrivals =
  /**
   * Streams that each start the next acquisition `intervalMs` after the intended start of the last; 0: at once, and
   * then a stream that is refused comes back when it was told to, for the same acquisition.
   */
  | { readonly kind: 'streams'; readonly count: number; readonly intervalMs: number }
  /** A Poisson process of acquisitions, whatever the server does. */
  | { readonly kind: 'poisson'; readonly ratePerSecond: number; readonly seed: number };

export interface LoadOptions {
  /** Connections, used in turn. */
  readonly clients: readonly SaladClient[];
  readonly model: { readonly name: string; readonly version?: number };
  readonly arrivals: Arrivals;
  readonly workload: Workload;
  /** New acquisitions start during this time; those running then are waited for. */
  readonly durationMs: number;
  /** Acquisitions that start in the first part are not counted. */
  readonly warmUpMs: number;
  readonly timeoutMs: number;
  /** Ends the run: acquisitions that run are cancelled and not counted. */
  readonly signal?: AbortSignal;
  readonly onProgress?: (done: number, failed: number) => void;
}

export interface LoadResult {
  readonly acquisitions: LatencySummary & {
    readonly ok: number;
    readonly failed: number;
    /** RESOURCE_EXHAUSTED and UNAVAILABLE: told to come back later, and did not or never got in. */
    readonly refused: number;
    /** Attempts after a refusal, of back-to-back streams. */
    readonly retries: number;
    /** From the intended start to the refusal: how fast a full server says so. */
    readonly refusals: LatencySummary;
    readonly perSecond: number;
    /** Failures by gRPC status. */
    readonly byStatus: Readonly<Record<string, number>>;
  };
  readonly tiles: LatencySummary & { readonly perSecond: number };
  /** Jain's index over the tiles each stream got; null for Poisson arrivals. */
  readonly jain: number | null;
  /** Mean share of the batch limit that the tiles' batches filled, as the server tells. */
  readonly batchFill: number;
  /** Measured time; shorter than the duration where the signal ended the run. */
  readonly seconds: number;
}

/** Told to come back later. */
const REFUSALS: ReadonlySet<string> = new Set(['RESOURCE_EXHAUSTED', 'UNAVAILABLE']);

/** Mutable tallies of one run. */
class Tally {
  readonly acquisitions = new Latencies();
  readonly refusals = new Latencies();
  readonly tiles = new Latencies();
  readonly byStatus: Record<string, number> = {};
  readonly tilesPerStream: number[] = [];
  retries = 0;
  tileCount = 0;
  batchFillSum = 0;

  fail(status: string): void {
    this.byStatus[status] = (this.byStatus[status] ?? 0) + 1;
  }
  get failed(): number {
    return Object.values(this.byStatus).reduce((sum, count) => sum + count, 0);
  }
}

/** Runs the load and returns its figures; a failing acquisition is counted, never thrown. */
export async function runLoad(options: LoadOptions): Promise<LoadResult> {
  const tally = new Tally();
  // Every acquisition that runs listens to the one signal: Node would take more than ten for a leak.
  if (options.signal) setMaxListeners(0, options.signal);
  const start = performance.now();
  const countFrom = start + options.warmUpMs;
  const stopAt = countFrom + options.durationMs;
  let endedAt = stopAt;
  options.signal?.addEventListener('abort', () => {
    endedAt = Math.min(stopAt, performance.now());
  });
  const running = new Set<Promise<void>>();
  const launch = (intended: number, stream: number): Promise<void> => {
    const client = options.clients[stream % options.clients.length] as SaladClient;
    return acquire(
      client,
      options,
      { intended, stream, counted: intended >= countFrom, countFrom, stopAt },
      tally,
    );
  };
  if (options.arrivals.kind === 'streams') {
    const { count, intervalMs } = options.arrivals;
    for (let stream = 0; stream < count; stream++) {
      tally.tilesPerStream.push(0);
      // Streams start spread over one interval, or over half the warm-up where they run back to back: a fair server
      // would keep streams that start together in step, and all of them would wait for the network at once.
      const spreadMs = intervalMs > 0 ? intervalMs : options.warmUpMs / 2;
      running.add(
        runStream(
          start + (stream / count) * spreadMs,
          intervalMs,
          stopAt,
          (at) => launch(at, stream),
          options,
        ),
      );
    }
  } else {
    const gap = poissonGaps(options.arrivals.ratePerSecond, options.arrivals.seed);
    let stream = 0;
    for (let at = start + gap(); at < stopAt && !options.signal?.aborted; at += gap()) {
      await until(at, options.signal);
      if (options.signal?.aborted) break;
      const one: Promise<void> = launch(at, stream++).finally(() => running.delete(one));
      running.add(one);
    }
  }
  await Promise.all(running);
  return resultOf(tally, options.arrivals, Math.max(0, endedAt - countFrom) / 1000);
}

/**
 * Returns at that moment, or as soon as the signal aborts. A timer takes a millisecond at least: a schedule that is
 * behind must not wait for one at every arrival.
 */
async function until(moment: number, signal: AbortSignal | undefined): Promise<void> {
  const wait = moment - performance.now();
  if (wait <= 0) await nextTurn();
  else await pause(wait, signal);
}

/** Returns after that many ms, or as soon as the signal aborts. */
async function pause(ms: number, signal: AbortSignal | undefined): Promise<void> {
  await sleep(ms, undefined, signal ? { signal } : {}).catch(() => {});
}

/** One stream's schedule: an intended start never moves because the server was slow. */
async function runStream(
  first: number,
  intervalMs: number,
  stopAt: number,
  launch: (intended: number) => Promise<void>,
  options: LoadOptions,
): Promise<void> {
  let intended = first;
  while (intended < stopAt && !options.signal?.aborted) {
    await pause(Math.max(0, intended - performance.now()), options.signal);
    if (options.signal?.aborted) return;
    await launch(intended);
    intended = intervalMs > 0 ? intended + intervalMs : performance.now();
  }
}

interface Slot {
  readonly intended: number;
  readonly stream: number;
  /** Meant to start inside the measured window. */
  readonly counted: boolean;
  readonly countFrom: number;
  readonly stopAt: number;
}

let nextId = 0;

async function acquire(client: SaladClient, options: LoadOptions, slot: Slot, tally: Tally): Promise<void> {
  const { workload } = options;
  const header = {
    acquisitionId: `load-${process.pid}-${nextId++}`,
    model: options.model,
    image: { rows: workload.size, columns: workload.size, bitsAllocated: 8 },
    source: workload.mode === 'rows' ? Source.SOURCE_ROWS : Source.SOURCE_TILES,
    options: { patchScores: true },
  };
  let tiles: TileClock | undefined;
  try {
    const call = { timeoutMs: options.timeoutMs, ...(options.signal ? { signal: options.signal } : {}) };
    const source = (accepted: AcquisitionAccepted) => {
      tiles = new TileClock(workload, accepted, slot, tally);
      return paced(workload, accepted, slot.intended);
    };
    const aggregate = await client.scoreAcquisition(header, source, {
      ...call,
      // Where arrivals do not wait, a refusal is a figure of the load, not something to hide behind another attempt.
      ...(isClosedLoop(options.arrivals) ? {} : { retry: false }),
      onRetry: () => {
        if (slot.counted) tally.retries++;
      },
      onEvent: (event) => {
        if (event.type === 'patches') tiles?.arrived(event.patches);
      },
    });
    if (slot.counted) countAcquisition(aggregate, slot, tally);
  } catch (error) {
    if (options.signal?.aborted) return;
    if (slot.counted) {
      const status = error instanceof SaladClientError ? error.status : 'CLIENT_ERROR';
      tally.fail(status);
      if (REFUSALS.has(status)) tally.refusals.add(performance.now() - slot.intended);
    }
  }
  options.onProgress?.(tally.acquisitions.count, tally.failed);
}

function isClosedLoop(arrivals: Arrivals): boolean {
  return arrivals.kind === 'streams' && arrivals.intervalMs === 0;
}

function countAcquisition(aggregate: AcquisitionAggregate, slot: Slot, tally: Tally): void {
  tally.acquisitions.add(performance.now() - slot.intended);
  tally.batchFillSum += aggregate.timings?.batchFill ?? 0;
}

/** Times the first patch of each tile against the moment its pixels were meant to be there. */
class TileClock {
  readonly #accepted: AcquisitionAccepted;
  readonly #ready: Float64Array;
  readonly #seen: Uint8Array;
  readonly #slot: Slot;
  readonly #workload: Workload;
  readonly #tally: Tally;

  constructor(workload: Workload, accepted: AcquisitionAccepted, slot: Slot, tally: Tally) {
    const geometry = accepted.geometry;
    if (!geometry) throw new Error('the server accepted without a geometry');
    this.#accepted = accepted;
    this.#ready = readyShares(workload, geometry, accepted.scoresBeforeLastPixel);
    this.#seen = new Uint8Array(this.#ready.length);
    this.#slot = slot;
    this.#workload = workload;
    this.#tally = tally;
  }

  arrived(patches: readonly PatchScore[]): void {
    const geometry = this.#accepted.geometry;
    if (!geometry) return;
    const now = performance.now();
    const rows = geometry.patchRows / geometry.tileRows;
    const columns = geometry.patchColumns / geometry.tileColumns;
    for (const patch of patches) {
      const tile = Math.floor(patch.row / rows) * geometry.tileColumns + Math.floor(patch.column / columns);
      if (this.#seen[tile]) continue;
      this.#seen[tile] = 1;
      // Throughput: whatever arrived inside the measured window. Latency: what was meant to start inside it.
      if (now >= this.#slot.countFrom && now <= this.#slot.stopAt) {
        this.#tally.tileCount++;
        const shares = this.#tally.tilesPerStream;
        if (this.#slot.stream < shares.length)
          shares[this.#slot.stream] = (shares[this.#slot.stream] ?? 0) + 1;
      }
      if (!this.#slot.counted) continue;
      const due = this.#slot.intended + (this.#ready[tile] ?? 1) * this.#workload.acquisitionMs;
      this.#tally.tiles.add(now - due);
    }
  }
}

/** @param seconds measured time; 0 where the run ended in its warm-up */
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
