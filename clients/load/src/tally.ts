/** Counters and latencies that a load run collects. */
import type { AcquisitionAccepted, Geometry, PatchScore } from '../../typescript/src/index.js';
import { Latencies } from './statistics.js';
import { geometryOf, readyShares, type Workload } from './workload.js';

/** Counters and latencies of one run. */
export class Tally {
  readonly acquisitions = new Latencies();
  readonly refusals = new Latencies();
  readonly tiles = new Latencies();
  readonly byStatus: Record<string, number> = {};
  readonly tilesPerStream: number[] = [];
  retries = 0;
  tileCount = 0;
  batchFillSum = 0;

  countFailure(status: string): void {
    this.byStatus[status] = (this.byStatus[status] ?? 0) + 1;
  }

  get failed(): number {
    return Object.values(this.byStatus).reduce((sum, count) => sum + count, 0);
  }
}

/** Schedule of one acquisition; times in ms of `performance.now`. */
export interface Schedule {
  readonly scheduledMs: number;
  readonly stream: number;
  /** Whether it is scheduled to start in the measured time. */
  readonly isCounted: boolean;
  readonly measureFromMs: number;
  readonly measureUntilMs: number;
}

/** Measures for each tile the time from the scheduled sending of its last pixel to the first score of its patches. */
export class TileLatencies {
  readonly #geometry: Geometry;
  /** Share of the acquisition that must have been sent before each tile can be scored. */
  readonly #readyShares: Float64Array;
  /** 1 for each tile with a score. */
  readonly #isScored: Uint8Array;
  readonly #schedule: Schedule;
  readonly #workload: Workload;
  readonly #tally: Tally;

  constructor(workload: Workload, accepted: AcquisitionAccepted, schedule: Schedule, tally: Tally) {
    this.#geometry = geometryOf(accepted);
    this.#readyShares = readyShares(workload, this.#geometry, accepted.scoresBeforeLastPixel);
    this.#isScored = new Uint8Array(this.#readyShares.length);
    this.#schedule = schedule;
    this.#workload = workload;
    this.#tally = tally;
  }

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
      // Throughput counts tiles scored in the measured time; latency counts acquisitions scheduled in it.
      if (nowMs >= measureFromMs && nowMs <= measureUntilMs) {
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
