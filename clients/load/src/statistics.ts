/** Statistics of a load run: latencies, fairness, arrival times. */
import {
  build,
  decodeFromCompressedBase64,
  encodeIntoCompressedBase64,
  type JsHistogram,
} from 'hdr-histogram-js';

export interface LatencySummary {
  readonly count: number;
  readonly meanMs: number;
  readonly p50Ms: number;
  readonly p90Ms: number;
  readonly p99Ms: number;
  readonly p999Ms: number;
  readonly maxMs: number;
}

/** The histograms hold whole microseconds. */
const UNITS_PER_MS = 1000;

/**
 * Latencies in ms, as an HDR histogram of microseconds with three significant digits: percentiles are at most 0.1 % too
 * high, and histograms of several windows, processes and machines add up to the histogram of all.
 */
export class Latencies {
  readonly #histogram: JsHistogram;

  constructor(histogram: unknown = build({ bitBucketSize: 64, highestTrackableValue: 2, autoResize: true })) {
    // The builder returns a JsHistogram where WebAssembly is not asked for.
    this.#histogram = histogram as JsHistogram;
  }

  /** @param encoded of `encode` @throws Error if the text is no histogram */
  static decode(encoded: string): Latencies {
    const histogram = decodeFromCompressedBase64(encoded, 64);
    // A decoded histogram has the range of its values, and refuses larger ones of another.
    histogram.autoResize = true;
    return new Latencies(histogram);
  }

  /** A negative latency, of an answer before the scheduled time, counts as 0. */
  add(ms: number): void {
    this.#histogram.recordValue(Math.max(0, Math.round(ms * UNITS_PER_MS)));
  }

  merge(other: Latencies): void {
    if (other.count > 0) this.#histogram.add(other.#histogram);
  }

  /** The compressed text of HdrHistogram (`HISTF...`), which its tools of other languages read. */
  encode(): string {
    return encodeIntoCompressedBase64(this.#histogram);
  }

  get count(): number {
    return this.#histogram.totalCount;
  }

  /** Each recorded value in ms with its count, in ascending order. */
  *values(): Generator<readonly [ms: number, count: number]> {
    const iterator = this.#histogram.recordedValuesIterator;
    iterator.reset();
    while (iterator.hasNext()) {
      const { valueIteratedTo, countAtValueIteratedTo } = iterator.next();
      yield [valueIteratedTo / UNITS_PER_MS, countAtValueIteratedTo];
    }
  }

  /** NaN without values. */
  summary(): LatencySummary {
    const { count } = this;
    const { maxValue, mean } = this.#histogram;
    const at = (percent: number) =>
      count === 0
        ? Number.NaN
        : Math.min(maxValue, this.#histogram.getValueAtPercentile(percent)) / UNITS_PER_MS;
    return {
      count,
      meanMs: count === 0 ? Number.NaN : mean / UNITS_PER_MS,
      p50Ms: at(50),
      p90Ms: at(90),
      p99Ms: at(99),
      p999Ms: at(99.9),
      maxMs: at(100),
    };
  }
}

/**
 * Jain's fairness index (sum x)^2 / (n sum x^2), in (0, 1]; 1 means equal shares (Jain, Chiu, Hawe 1984).
 * NaN if all shares are 0.
 */
export function jainIndex(shares: readonly number[]): number {
  const sum = shares.reduce((total, share) => total + share, 0);
  const squares = shares.reduce((total, share) => total + share * share, 0);
  return squares === 0 ? Number.NaN : (sum * sum) / (shares.length * squares);
}

/** Returns a generator of uniform numbers in [0, 1); deterministic for a seed (mulberry32). */
export function uniforms(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

/** Returns a generator of the exponential gaps of a Poisson process, in ms; deterministic for a seed. */
export function poissonGaps(ratePerSecond: number, seed: number): () => number {
  const uniform = uniforms(seed);
  return () => (-Math.log(1 - uniform()) / ratePerSecond) * 1000;
}
