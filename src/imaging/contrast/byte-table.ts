/** Converts samples to bytes of the working image, and counts 8-bit samples. */

import type { DisplayTransform } from '../pixel-format/pixel-format.js';
import { percentileOfSorted } from './percentile.js';

/** Nearest integer, halves up, clamped to [0, 255]. */
export function toByte(value: number): number {
  if (value <= 0) return 0;
  return value >= 255 ? 255 : (value + 0.5) | 0;
}

/** 0 to 255. */
const SAMPLES = Uint8Array.from({ length: 256 }, (_, sample) => sample);

/** Display value of each 8-bit sample, float32 [256] in [0, 255]. */
export function displayTableOf(transform: DisplayTransform): Float32Array {
  const display = new Float32Array(256);
  transform(SAMPLES, display);
  return display;
}

/** Rounds display values to bytes. Runs for every image, so it avoids `from`, which allocates an object for each value. */
export function toBytes(display: Float32Array): Uint8Array {
  const bytes = new Uint8Array(display.length);
  for (let i = 0; i < bytes.length; i++) bytes[i] = toByte(display[i]!);
  return bytes;
}

/** Samples by ascending display value. Most tables ascend already; those of inverted images and some look-up tables do not. */
function ascending(display: Float32Array): Uint8Array {
  for (let i = 1; i < 256; i++) {
    if (display[i]! < display[i - 1]!) return SAMPLES.slice().sort((a, b) => display[a]! - display[b]!);
  }
  return SAMPLES;
}

/** Looks up `count` samples from `from` on and writes them from `at` on; source and target may be the same array. */
export function lookUp(
  table: Uint8Array,
  samples: Uint8Array,
  from: number,
  target: Uint8Array,
  at: number,
  count: number,
): void {
  for (let i = 0; i < count; i++) target[at + i] = table[samples[from + i]!]!;
}

/**
 * Counts 8-bit samples, in four counters for each value: neighbouring samples are often equal, and consecutive increments of
 * one counter would wait for each other.
 */
export class SampleCounts {
  readonly #lanes = new Uint32Array(4 * 256);

  /** Counts `count` samples from `from` on. */
  add(samples: Uint8Array, from: number, count: number): void {
    const lanes = this.#lanes;
    const end = from + count;
    let i = from;
    for (; i + 3 < end; i += 4) {
      lanes[samples[i]!]!++;
      lanes[256 + samples[i + 1]!]!++;
      lanes[512 + samples[i + 2]!]!++;
      lanes[768 + samples[i + 3]!]!++;
    }
    for (; i < end; i++) lanes[samples[i]!]!++;
  }

  /** uint32 [256]: number of samples of each value. */
  total(): Uint32Array {
    const lanes = this.#lanes;
    const total = lanes.slice(0, 256);
    for (let i = 256; i < lanes.length; i++) total[i % 256]! += lanes[i]!;
    return total;
  }
}

/**
 * Percentiles of the display values of counted 8-bit samples, from 256 counts. The result is that of `percentilesOf` for
 * all values.
 * @returns NaN for each where nothing was counted
 */
export function percentilesOfCounts(
  counts: Uint32Array,
  display: Float32Array,
  percentiles: readonly number[],
): number[] {
  const order = ascending(display);
  const total = counts.reduce((sum, count) => sum + count, 0);
  return percentiles.map((percentile) =>
    percentileOfSorted(total, percentile, (rank) => {
      let below = 0;
      for (const sample of order) {
        below += counts[sample]!;
        if (below > rank) return display[sample]!;
      }
      return Number.NaN;
    }),
  );
}
