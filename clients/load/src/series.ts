/** The course of a run: its figures in windows of equal length, and when they are stable. */
import { Latencies } from './statistics.js';

/** The acquisitions that ended in one window, whenever they were scheduled. */
export interface SeriesRow {
  /** From the start of the measured time to the start of the window, in seconds. */
  readonly fromSeconds: number;
  readonly seconds: number;
  readonly ok: number;
  readonly failed: number;
  readonly okPerSecond: number;
  /** Scored tiles of the completed acquisitions. */
  readonly tiles: number;
  /** Null without a completed acquisition. */
  readonly meanMs: number | null;
  readonly p50Ms: number | null;
  readonly p99Ms: number | null;
  /** Latencies of the completed acquisitions as compressed text of HdrHistogram, in microseconds. */
  readonly histogram: string;
}

/** Ends a run early: when throughput and mean latency hold still, as in NVIDIA's perf_analyzer. */
export interface StopWhenStable {
  /**
   * In each of the last `STABLE_WINDOWS` windows, acquisitions per second and mean latency are within this many per cent
   * of their mean over these windows.
   */
  readonly percent: number;
}

/** As in perf_analyzer. */
export const STABLE_WINDOWS = 3;

export class Series {
  readonly rows: SeriesRow[] = [];
  #latencies = new Latencies();
  #failed = 0;
  #tiles = 0;
  #fromMs: number;

  /** @param startMs start of the measured time, in ms of `performance.now` */
  constructor(
    private readonly startMs: number,
    private readonly windowMs: number,
  ) {
    this.#fromMs = startMs;
  }

  /** Counts an acquisition that ended at `nowMs`. */
  add(
    nowMs: number,
    end: { readonly isOk: boolean; readonly latencyMs: number; readonly tiles: number },
  ): void {
    if (nowMs < this.startMs) return;
    this.advance(nowMs);
    if (end.isOk) {
      this.#latencies.add(end.latencyMs);
      this.#tiles += end.tiles;
    } else this.#failed += 1;
  }

  /** Closes the windows that have ended at `nowMs`. @returns whether it closed one */
  advance(nowMs: number): boolean {
    const before = this.rows.length;
    while (nowMs >= this.#fromMs + this.windowMs) this.#close(this.#fromMs + this.windowMs);
    return this.rows.length > before;
  }

  /** Closes the last window, which may be shorter; one that is much shorter is left out. */
  finish(endMs: number): void {
    this.advance(endMs);
    if (endMs - this.#fromMs >= this.windowMs / 2) this.#close(endMs);
  }

  isStable({ percent }: StopWhenStable): boolean {
    const last = this.rows.slice(-STABLE_WINDOWS);
    if (last.length < STABLE_WINDOWS || last.some(({ ok }) => ok === 0)) return false;
    const isWithin = (values: readonly number[]) => {
      const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
      return values.every((value) => Math.abs(value - mean) <= (percent / 100) * mean);
    };
    return isWithin(last.map((row) => row.okPerSecond)) && isWithin(last.map((row) => row.meanMs ?? 0));
  }

  #close(endMs: number): void {
    const seconds = (endMs - this.#fromMs) / 1000;
    const fromSeconds = (this.#fromMs - this.startMs) / 1000;
    this.rows.push(
      seriesRow({ fromSeconds, seconds, failed: this.#failed, tiles: this.#tiles }, this.#latencies),
    );
    this.#latencies = new Latencies();
    this.#tiles = 0;
    this.#failed = 0;
    this.#fromMs = endMs;
  }
}

export function seriesRow(
  window: Pick<SeriesRow, 'fromSeconds' | 'seconds' | 'failed' | 'tiles'>,
  latencies: Latencies,
): SeriesRow {
  const { count, meanMs, p50Ms, p99Ms } = latencies.summary();
  const orNull = (ms: number) => (Number.isNaN(ms) ? null : ms);
  return {
    ...window,
    ok: count,
    okPerSecond: count / window.seconds,
    meanMs: orNull(meanMs),
    p50Ms: orNull(p50Ms),
    p99Ms: orNull(p99Ms),
    histogram: latencies.encode(),
  };
}
