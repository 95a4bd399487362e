/**
 * Counter-based random numbers: a stream is a pure function of its key, so a resumed run needs no generator
 * state, only the counters (seed, epoch, tile) it had reached.
 */

import { createRandom } from '../../../util/random.js';

/** Uniform, normal and integer draws from one stream. */
export interface RandomStream {
  /** Uniform in [0, 1). */
  uniform(): number;
  /** Uniform in [low, high). */
  between(low: number, high: number): number;
  /** Uniform integer in [0, bound). */
  integer(bound: number): number;
  /** Standard normal (Box-Muller). */
  normal(): number;
}

/** Finaliser of MurmurHash3: every input bit reaches every output bit. */
function mix(value: number): number {
  let h = value | 0;
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return (h ^ (h >>> 16)) >>> 0;
}

/** A stream for a key of integers; different keys give independent streams. */
export function randomStream(...key: readonly number[]): RandomStream {
  let hash = 0x9e3779b9;
  for (const part of key) hash = mix(mix(hash ^ mix(part)) + mix(Math.floor(part / 0x100000000)));
  const uniform = createRandom(hash);
  let spare: number | undefined;
  const normal = (): number => {
    if (spare !== undefined) {
      const value = spare;
      spare = undefined;
      return value;
    }
    const radius = Math.sqrt(-2 * Math.log(1 - uniform()));
    const angle = 2 * Math.PI * uniform();
    spare = radius * Math.sin(angle);
    return radius * Math.cos(angle);
  };
  return {
    uniform,
    between: (low, high) => low + (high - low) * uniform(),
    integer: (bound) => Math.floor(uniform() * bound),
    normal,
  };
}

/** The purposes a stream may be drawn for: part of its key, so that they never share numbers. */
export const RANDOM_PURPOSE = {
  weights: 1,
  bank: 2,
  order: 3,
  augment: 4,
  negatives: 5,
  subset: 6,
} as const;
