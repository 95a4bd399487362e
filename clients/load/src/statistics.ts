/** Statistics of a load run: latencies, fairness, arrival times. */

export interface LatencySummary {
  readonly count: number;
  readonly p50Ms: number;
  readonly p90Ms: number;
  readonly p99Ms: number;
  readonly p999Ms: number;
  readonly maxMs: number;
}

/** Latencies in ms. All values are kept, so that high percentiles are exact. */
export class Latencies {
  #values = new Float64Array(1024);
  #count = 0;

  add(ms: number): void {
    if (this.#count === this.#values.length) {
      const larger = new Float64Array(2 * this.#count);
      larger.set(this.#values);
      this.#values = larger;
    }
    this.#values[this.#count++] = ms;
  }

  get count(): number {
    return this.#count;
  }

  /** Percentiles by nearest rank; NaN without values. */
  summary(): LatencySummary {
    const sorted = this.#values.slice(0, this.#count).sort();
    const at = (probability: number) =>
      sorted[Math.min(sorted.length - 1, Math.ceil(probability * sorted.length) - 1)] ?? Number.NaN;
    return {
      count: sorted.length,
      p50Ms: at(0.5),
      p90Ms: at(0.9),
      p99Ms: at(0.99),
      p999Ms: at(0.999),
      maxMs: at(1),
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

/** Returns a generator of the exponential gaps of a Poisson process, in ms; deterministic for a seed (mulberry32). */
export function poissonGaps(ratePerSecond: number, seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    const uniform = ((t ^ (t >>> 14)) >>> 0) / 4294967296;
    return (-Math.log(1 - uniform) / ratePerSecond) * 1000;
  };
}
