/** Mixes several kinds of acquisitions by their weights. */
import type { LoadKind } from './workload.js';

/**
 * Returns a function that gives the kind of the next acquisition: a smooth weighted round robin, which spreads each kind
 * evenly and repeats exactly. @throws Error without a kind of a positive weight
 */
export function createKindCycle(kinds: readonly LoadKind[]): () => LoadKind & { readonly index: number } {
  const states = kinds.map((kind, index) => ({ ...kind, index, share: kind.weight ?? 1, credit: 0 }));
  const sum = states.reduce((total, { share }) => total + share, 0);
  if (!(sum > 0)) throw new Error('a load needs a kind of acquisition with a positive weight');
  return () => {
    for (const state of states) state.credit += state.share;
    const next = states.reduce((best, state) => (state.credit > best.credit ? state : best));
    next.credit -= sum;
    return next;
  };
}
