/** Counters and latencies that a load run collects. */
import type { AcquisitionAccepted, Geometry, PatchScore } from '../../typescript/src/index.js';
import { Latencies } from './statistics.js';
import { geometryOf, type LoadKind, readyShares } from './workload.js';

/** Statuses with which a server asks the client to try again later. */
const REFUSALS: ReadonlySet<string> = new Set(['RESOURCE_EXHAUSTED', 'UNAVAILABLE']);

/** Counters and latencies of acquisitions. */
export class Counts {
  readonly acquisitions = new Latencies();
  /** Time from the scheduled start to the refusal. */
  readonly refusals = new Latencies();
  readonly byStatus: Record<string, number> = {};

  count(status: string, latencyMs: number): void {
    if (status === 'OK') {
      this.acquisitions.add(latencyMs);
      return;
    }
    this.byStatus[status] = (this.byStatus[status] ?? 0) + 1;
    if (REFUSALS.has(status)) this.refusals.add(latencyMs);
  }

  /** Includes refused acquisitions. */
  get failed(): number {
    return Object.values(this.byStatus).reduce((sum, count) => sum + count, 0);
  }
}

/** Counters and latencies of one run. */
export class Tally {
  readonly total = new Counts();
  /** By kind, in the order of the options. */
  readonly kinds: readonly Counts[];
  readonly tiles = new Latencies();
  /** How much later than scheduled the generator itself started acquisitions. */
  readonly startLateness = new Latencies();
  readonly tilesPerStream: number[] = [];
  retries = 0;
  tileCount = 0;
  batchFillSum = 0;

  constructor(kinds: number) {
    this.kinds = Array.from({ length: kinds }, () => new Counts());
  }
}

/** Schedule of one acquisition; times in ms of `performance.now`. */
export interface Schedule {
  readonly scheduledMs: number;
  readonly stream: number;
  /** Whether it is scheduled to start in the measured time. */
  readonly isCounted: boolean;
  readonly measureFromMs: number;
  /** The end of the measured time, which an interrupt or the stop criterion moves to an earlier time. */
  readonly measureUntilMs: () => number;
}

/** Measures for each tile the time from the scheduled sending of its last pixel to the first score of its patches. */
export class TileLatencies {
  readonly #geometry: Geometry;
  /** Share of the acquisition that must have been sent before each tile can be scored. */
  readonly #readyShares: Float64Array;
  /** 1 for each tile with a score. */
  readonly #isScored: Uint8Array;
  readonly #schedule: Schedule;
  readonly #workload: LoadKind['workload'];
  readonly #tally: Tally;

  constructor(
    workload: LoadKind['workload'],
    accepted: AcquisitionAccepted,
    schedule: Schedule,
    tally: Tally,
  ) {
    this.#geometry = geometryOf(accepted);
    this.#readyShares = readyShares(workload.mode, this.#geometry, accepted.scoresBeforeLastPixel);
    this.#isScored = new Uint8Array(this.#readyShares.length);
    this.#schedule = schedule;
    this.#workload = workload;
    this.#tally = tally;
  }

  /** Tiles that have a score until now. */
  scored = 0;

  record(patches: readonly PatchScore[]): void {
    const { patchRows, patchColumns, tileRows, tileColumns } = this.#geometry;
    const { scheduledMs, stream, isCounted, measureFromMs, measureUntilMs } = this.#schedule;
    const nowMs = performance.now();
    const rows = patchRows / tileRows;
    const columns = patchColumns / tileColumns;
    for (const patch of patches) {
      const tile = Math.floor(patch.row / rows) * tileColumns + Math.floor(patch.column / columns);
      if (this.#isScored[tile]) continue;
      this.#isScored[tile] = 1;
      this.scored += 1;
      // Throughput counts tiles scored in the measured time; latency counts acquisitions scheduled in it.
      if (nowMs >= measureFromMs && nowMs <= measureUntilMs()) {
        this.#tally.tileCount++;
        const counts = this.#tally.tilesPerStream;
        if (stream < counts.length) counts[stream] = (counts[stream] ?? 0) + 1;
      }
      if (!isCounted) continue;
      const readyMs = scheduledMs + (this.#readyShares[tile] ?? 1) * this.#workload.acquisitionMs;
      this.#tally.tiles.add(nowMs - readyMs);
    }
  }
}
