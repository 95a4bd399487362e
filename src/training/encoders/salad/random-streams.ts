/**
 * Random streams by key. A stream is a pure function of its key (seed, purpose, epoch, row), so a resumed run needs no
 * generator state, only its counters.
 */
import { createRandom } from '../../../util/random.js';

/** A stream of random numbers. */
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

/** Finaliser of MurmurHash3: every input bit affects every output bit. */
function mixBits(value: number): number {
  let h = value | 0;
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return (h ^ (h >>> 16)) >>> 0;
}

/** The stream of a key of integers; different keys give independent streams. */
export function randomStream(...key: readonly number[]): RandomStream {
  let hash = 0x9e3779b9;
  for (const element of key) {
    hash = mixBits(mixBits(hash ^ mixBits(element)) + mixBits(Math.floor(element / 0x100000000)));
  }
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

/** Purposes of streams; the purpose is part of the key, so that two purposes never use the same numbers. */
export const RANDOM_PURPOSE = {
  weights: 1,
  memory: 2,
  order: 3,
  augment: 4,
  negatives: 5,
  subset: 6,
} as const;
