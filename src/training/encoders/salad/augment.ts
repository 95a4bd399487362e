/**
 * Makes random views of u8 tiles (docs/explanation/salad-method.md, section 2). A view depends on nothing but the tile,
 * the settings and the random stream.
 */
import type { AugmentConfig } from './config.js';
import type { RandomStream } from './random-streams.js';

/** Reflects an index at the borders without repeating the border sample, however far outside it is. */
function reflect(index: number, size: number): number {
  if (size === 1) return 0;
  const period = 2 * (size - 1);
  const wrapped = ((index % period) + period) % period;
  return wrapped < size ? wrapped : period - wrapped;
}

/** Copies a tile, flipped and shifted, to `out`. */
function flipAndShift(
  tile: Uint8Array,
  size: number,
  flip: boolean,
  dy: number,
  dx: number,
  out: Float32Array,
): void {
  const columns = Int32Array.from({ length: size }, (_, x) => {
    const from = reflect(x + dx, size);
    return flip ? size - 1 - from : from;
  });
  for (let y = 0; y < size; y++) {
    const row = reflect(y + dy, size) * size;
    for (let x = 0; x < size; x++) out[y * size + x] = tile[row + columns[x]!]!;
  }
}

/** Blurs in place by the separable kernel (1, 2, 1)/4, with reflected borders. */
function blur(pixels: Float32Array, size: number): void {
  const line = new Float32Array(size);
  for (const [along, across] of [
    [1, size],
    [size, 1],
  ] as const) {
    for (let start = 0; start < size; start++) {
      const base = start * across;
      for (let i = 0; i < size; i++) line[i] = pixels[base + i * along]!;
      for (let i = 0; i < size; i++) {
        const sides = line[reflect(i - 1, size)]! + line[reflect(i + 1, size)]!;
        pixels[base + i * along] = (2 * line[i]! + sides) / 4;
      }
    }
  }
}

/** Table of new grey values for 0..255: gamma on [0, 1], then gain and offset around mid-grey. */
function toneTable(gamma: number, gain: number, offset: number): Float32Array {
  return Float32Array.from({ length: 256 }, (_, value) => {
    const corrected = 255 * (value / 255) ** gamma;
    return (corrected - 127.5) * gain + 127.5 + offset * 127.5;
  });
}

/**
 * Makes one random view. Draws the same number of random values for every tile, except for the noise.
 *
 * @param tile u8 [size, size]
 * @param out float32 [size, size], values in [0, 255]
 */
export function augmentTile(
  tile: Uint8Array,
  size: number,
  config: AugmentConfig,
  random: RandomStream,
  out: Float32Array,
): void {
  const flip = random.uniform() < config.flip;
  const shift = (): number => random.integer(2 * config.shift + 1) - config.shift;
  const [dy, dx] = [shift(), shift()];
  const gain = Math.exp(random.between(-config.gain, config.gain));
  const offset = random.between(-config.offset, config.offset);
  const gamma = Math.exp(random.between(-config.gamma, config.gamma));
  const isBlurred = random.uniform() < config.blur;
  const sigma = random.between(0, config.noise) * 127.5;
  flipAndShift(tile, size, flip, dy, dx, out);
  if (gamma !== 1 || gain !== 1 || offset !== 0) {
    const tone = toneTable(gamma, gain, offset);
    for (let i = 0; i < out.length; i++) out[i] = tone[out[i]!]!;
  }
  if (isBlurred) blur(out, size);
  for (let i = 0; i < out.length; i++) {
    const value = sigma > 0 ? out[i]! + sigma * random.normal() : out[i]!;
    out[i] = Math.min(255, Math.max(0, value));
  }
}
