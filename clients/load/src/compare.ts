/** Compares two results: by how much a figure changed, and how certain that is. */
import type { SeriesRow } from './series.js';
import { Latencies, uniforms } from './statistics.js';

export interface MetricChange {
  readonly a: number;
  readonly b: number;
  /** b / a. */
  readonly ratio: number;
  /** Bounds of the 95 % interval of the ratio. */
  readonly ratioCi95: readonly [number, number];
  /** Whether the interval does not contain 1. */
  readonly isChanged: boolean;
}

export const METRICS = [
  'acquisitionsPerSecond',
  'tilesPerSecond',
  'meanMs',
  'p50Ms',
  'p90Ms',
  'p99Ms',
] as const;
export type Metric = (typeof METRICS)[number];

export interface Comparison {
  readonly windows: { readonly a: number; readonly b: number };
  readonly metrics: Readonly<Record<Metric, MetricChange>>;
}

/** Fewer windows say nothing about how much the figures vary. */
export const WINDOWS_MIN = 5;
const REPLICATES = 1000;

/**
 * The ratio of each figure with its 95 % interval by the percentile bootstrap (Efron 1979). The windows of the time
 * series are drawn, not single acquisitions: those of one window are not independent of each other.
 *
 * @param seed of the random draws; equal inputs give equal intervals
 * @throws Error with fewer than `WINDOWS_MIN` windows, or without completed acquisitions
 */
export function compareSeries(a: readonly SeriesRow[], b: readonly SeriesRow[], seed = 1): Comparison {
  const [first, second] = [readWindows('A', a), readWindows('B', b)];
  const random = uniforms(seed);
  const [figuresA, figuresB] = [figuresOf(first), figuresOf(second)];
  const ratios = new Map<Metric, number[]>(METRICS.map((metric) => [metric, []]));
  for (let replicate = 0; replicate < REPLICATES; replicate++) {
    const [drawnA, drawnB] = [figuresOf(draw(first, random)), figuresOf(draw(second, random))];
    for (const [metric, list] of ratios) list.push(drawnB[metric] / drawnA[metric]);
  }
  const changeOf = (metric: Metric): MetricChange => {
    const sorted = Float64Array.from(ratios.get(metric) ?? []).sort();
    const at = (share: number) => sorted[Math.round(share * (sorted.length - 1))] ?? Number.NaN;
    const [low, high] = [at(0.025), at(0.975)];
    return {
      a: figuresA[metric],
      b: figuresB[metric],
      ratio: figuresB[metric] / figuresA[metric],
      ratioCi95: [low, high],
      isChanged: low > 1 || high < 1,
    };
  };
  return {
    windows: { a: a.length, b: b.length },
    metrics: Object.fromEntries(METRICS.map((metric) => [metric, changeOf(metric)])) as Comparison['metrics'],
  };
}

/** A window with its latencies as sorted values, which are faster to add than histograms. */
interface Window {
  readonly seconds: number;
  readonly ok: number;
  readonly tiles: number;
  readonly values: readonly (readonly [ms: number, count: number])[];
}

function readWindows(name: string, rows: readonly SeriesRow[]): readonly Window[] {
  if (rows.length < WINDOWS_MIN) {
    throw new Error(
      `${name} has ${rows.length} windows and needs at least ${WINDOWS_MIN}: measure longer, or with shorter windows`,
    );
  }
  if (rows.every(({ ok }) => ok === 0))
    throw new Error(`no acquisition was completed in the windows of ${name}`);
  return rows.map(({ seconds, ok, tiles, histogram }) => ({
    ...{ seconds, ok, tiles },
    values: [...Latencies.decode(histogram).values()],
  }));
}

function draw(windows: readonly Window[], random: () => number): readonly Window[] {
  return windows.map(() => windows[Math.floor(random() * windows.length)] as Window);
}

function figuresOf(windows: readonly Window[]): Readonly<Record<Metric, number>> {
  const sum = (pick: (window: Window) => number) =>
    windows.reduce((total, window) => total + pick(window), 0);
  const seconds = sum((window) => window.seconds);
  const count = sum((window) => window.ok);
  const counts = new Map<number, number>();
  let total = 0;
  for (const { values } of windows) {
    for (const [ms, times] of values) {
      counts.set(ms, (counts.get(ms) ?? 0) + times);
      total += ms * times;
    }
  }
  const sorted = Float64Array.from(counts.keys()).sort();
  const at = (share: number) => {
    let seen = 0;
    for (const ms of sorted) {
      seen += counts.get(ms) ?? 0;
      if (seen >= share * count) return ms;
    }
    return Number.NaN;
  };
  return {
    acquisitionsPerSecond: count / seconds,
    tilesPerSecond: sum((window) => window.tiles) / seconds,
    meanMs: total / count,
    p50Ms: at(0.5),
    p90Ms: at(0.9),
    p99Ms: at(0.99),
  };
}
