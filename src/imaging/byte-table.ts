/** Samples to bytes of the working image. */
import { percentileOfSorted } from './percentile.js';
import type { DisplayTransform } from './pixel-format.js';

/** Nearest integer, halves up, clamped to [0, 255]. */
export function toByte(value: number): number {
  if (value <= 0) return 0;
  return value >= 255 ? 255 : (value + 0.5) | 0;
}

/** Display value of each 8-bit sample, float32 [256] in [0, 255]. */
export function displayTableOf(transform: DisplayTransform): Float32Array {
  const display = new Float32Array(256);
  transform(
    Uint8Array.from(display, (_, sample) => sample),
    display,
  );
  return display;
}

/** Looks up `count` samples from `from` on and writes them from `at` on; source and target may be one. */
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

/** Counts `count` samples from `from` on. */
export function countSamples(counts: Uint32Array, samples: Uint8Array, from: number, count: number): void {
  for (let i = from; i < from + count; i++) counts[samples[i]!]!++;
}

/**
 * Percentiles of the display values of counted 8-bit samples: those `percentilesOf` gives for the values one by
 * one, from 256 counts.
 * @returns NaN for each where nothing was counted
 */
export function percentilesOfCounts(
  counts: Uint32Array,
  display: Float32Array,
  percentiles: readonly number[],
): number[] {
  const order = Array.from(counts.keys()).sort((a, b) => display[a]! - display[b]!);
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
