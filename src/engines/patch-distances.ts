/** The last step of every engine: exact distances to the K nearest prototypes, and the score. */

import { SaladError } from '../errors/index.js';
import { distanceFromSquaredChord, patchScoreFromDistances, squaredDistance } from '../scoring/knn.js';
import type { EngineModelSource, PatchBatch } from './engine.js';

/**
 * Fills neighbours, distances and scores of `patchCount` patches whose embeddings are already written.
 * The engine's float32 cosines choose the neighbours, but near 1 they hold a distance to about 3e-4 only.
 * The distances are therefore taken from the vectors' differences in float64: K * D operations per patch,
 * nothing beside the encoder, and engines agree to about 1e-6.
 * @param indices bank rows [patches, candidates] as the engine found them; negative: none. At least K are there.
 * @param candidates K of them, or more to choose the K nearest from.
 */
export function finishPatches(
  search: NonNullable<EngineModelSource['search']>,
  indices: ArrayLike<number | bigint>,
  patchCount: number,
  patches: PatchBatch,
  candidates = search.scoring.neighbourCount,
): void {
  const { bank, scoring } = search;
  const k = scoring.neighbourCount;
  const rows = new Int32Array(k);
  const squared = new Float64Array(k);
  for (let patch = 0; patch < patchCount; patch++) {
    const embedding = patch * bank.dimension;
    let found = 0;
    for (let place = 0; place < candidates; place++) {
      const row = Number(indices[patch * candidates + place]);
      if (row < 0) continue;
      const chord = squaredDistance(
        patches.embeddings,
        embedding,
        bank.prototypes,
        row * bank.dimension,
        bank.dimension,
      );
      insertSorted(rows, squared, found, row, chord);
      found = Math.min(found + 1, k);
    }
    if (found < k) throw new SaladError('ENGINE_FAILED', `the search found ${found} of ${k} neighbours`);
    const at = patch * k;
    for (let rank = 0; rank < k; rank++) {
      patches.neighbourIndices[at + rank] = rows[rank]!;
      patches.neighbourDistances[at + rank] = distanceFromSquaredChord(squared[rank]!, scoring.distance);
    }
    patches.scores[patch] = patchScoreFromDistances(patches.neighbourDistances, at, k, scoring);
  }
}

/**
 * Insertion into the first `count` entries, nearest first, ties to the lowest row; where the array is full the
 * farthest falls out. The input is nearly sorted.
 */
function insertSorted(
  rows: Int32Array,
  squared: Float64Array,
  count: number,
  row: number,
  value: number,
): void {
  let at = count;
  while (at > 0 && (squared[at - 1]! > value || (squared[at - 1] === value && rows[at - 1]! > row))) {
    // A typed array ignores what is written behind its end: there the farthest falls out.
    rows[at] = rows[at - 1]!;
    squared[at] = squared[at - 1]!;
    at--;
  }
  rows[at] = row;
  squared[at] = value;
}
