/** Finds samples that do not fit into the bits that a header says are stored. */
import type { PixelFormat } from './pixel-format.js';

/** Samples of one step: about a millisecond. */
const STEP_SAMPLES = 1_000_000;

/** A sample that needs more bits than are stored. */
export interface WideSample {
  readonly index: number;
  readonly value: number;
}

/**
 * Looks for the first sample outside of `bitsStored`, for pixels without overlays in the higher bits: the display
 * transform ignores these bits, so that a wrong `bitsStored` would give a wrong image.
 * @param samples little-endian, of 8 or 16 bits
 */
export function* findWideSample(
  samples: Uint8Array,
  { bitsAllocated, bitsStored, isSigned }: Pick<PixelFormat, 'bitsAllocated' | 'bitsStored' | 'isSigned'>,
): Generator<void, WideSample | undefined> {
  if (bitsStored >= bitsAllocated) return undefined;
  const bytes = bitsAllocated / 8;
  const count = samples.length / bytes;
  const [lowest, highest] = isSigned
    ? [-(2 ** (bitsStored - 1)), 2 ** (bitsStored - 1) - 1]
    : [0, 2 ** bitsStored - 1];
  const unused = 32 - bitsAllocated;
  for (let index = 0; index < count; index++) {
    const at = index * bytes;
    const bits = bytes === 1 ? samples[at]! : samples[at]! | (samples[at + 1]! << 8);
    const value = isSigned ? (bits << unused) >> unused : bits;
    if (value < lowest || value > highest) return { index, value };
    if (index % STEP_SAMPLES === STEP_SAMPLES - 1) yield;
  }
  return undefined;
}

export function wideSampleMessage({ index, value }: WideSample, bitsStored: number): string {
  return `is ${bitsStored}, and sample ${index} is ${value}: it needs more bits`;
}
