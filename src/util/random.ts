/** A small deterministic generator: the same seed gives the same numbers on every machine. */

/** mulberry32 (Tommy Ettinger, public domain): uniform in [0, 1) with 32 random bits. `seed` is taken modulo 2^32. */
export function createRandom(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

/** Fisher-Yates order of 0..count-1. */
export function shuffledIndices(count: number, random: () => number): Int32Array {
  const order = Int32Array.from({ length: count }, (_, index) => index);
  for (let last = count - 1; last > 0; last--) {
    const other = Math.floor(random() * (last + 1));
    const swapped = order[last]!;
    order[last] = order[other]!;
    order[other] = swapped;
  }
  return order;
}
