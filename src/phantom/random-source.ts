/**
 * Seeded random numbers and noise for phantoms, the same on every machine: phantoms must be reproducible to the bit.
 */
import { createRandom } from '../util/random.js';

export interface RandomSource {
  /** Uniform in [0, 1). */
  next(): number;
  /** Uniform in [low, high). */
  between(low: number, high: number): number;
  /** Uniform whole number in [low, high]. */
  integer(low: number, high: number): number;
  /** Standard normal (Box-Muller, both halves used). */
  normal(): number;
}

/**
 * A generator seeded by the seed and a stream name. Each step of a phantom has its own stream, so that a lesion does
 * not change the anatomy.
 */
export function createRandomSource(seed: number, stream: string): RandomSource {
  const next = createRandom(hashString(stream, Math.imul(seed | 0, 0x9e3779b1)));
  let spare = Number.NaN;
  return {
    next,
    between: (low, high) => low + (high - low) * next(),
    integer: (low, high) => low + Math.floor((high - low + 1) * next()),
    normal() {
      if (!Number.isNaN(spare)) {
        const value = spare;
        spare = Number.NaN;
        return value;
      }
      const radius = Math.sqrt(-2 * Math.log(1 - next()));
      const angle = 2 * Math.PI * next();
      spare = radius * Math.sin(angle);
      return radius * Math.cos(angle);
    },
  };
}

/** FNV-1a over the characters, XORed with a start value. */
function hashString(text: string, start: number): number {
  let hash = start ^ 0x811c9dc5;
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193);
  return hash;
}

/** Smooth random field with values in [-1, 1]: a lattice of `cells`² random values over the image, interpolated. */
export class NoiseField {
  readonly #values: Float32Array;
  readonly #side: number;
  readonly #scale: number;

  constructor(random: RandomSource, size: number, cells: number) {
    this.#side = cells + 2;
    this.#scale = cells / size;
    this.#values = Float32Array.from({ length: this.#side ** 2 }, () => random.between(-1, 1));
  }

  /** @param x, y pixel in [0, size) */
  at(x: number, y: number): number {
    const u = x * this.#scale;
    const v = y * this.#scale;
    const column = Math.floor(u);
    const row = Math.floor(v);
    const fx = smooth(u - column);
    const fy = smooth(v - row);
    const i = row * this.#side + column;
    const values = this.#values;
    const top = values[i]! + (values[i + 1]! - values[i]!) * fx;
    const below = i + this.#side;
    const bottom = values[below]! + (values[below + 1]! - values[below]!) * fx;
    return top + (bottom - top) * fy;
  }
}

function smooth(t: number): number {
  return t * t * (3 - 2 * t);
}
