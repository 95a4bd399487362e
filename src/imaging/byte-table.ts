/** Samples to bytes of the working image. */
import type { DisplayTransform } from './pixel-format.js';

/** Nearest integer, halves up, clamped to [0, 255]. */
export function toByte(value: number): number {
  if (value <= 0) return 0;
  return value >= 255 ? 255 : (value + 0.5) | 0;
}

/** What the two steps, to display values and to bytes, make of each 8-bit sample. */
export function byteTableOf(transform: DisplayTransform): Uint8Array {
  const display = new Float32Array(256);
  transform(
    Uint8Array.from(display, (_, sample) => sample),
    display,
  );
  return Uint8Array.from(display, toByte);
}

/** Looks up `count` samples from `from` on and writes them from `at` on. */
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
