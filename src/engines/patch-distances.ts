/** The last step of every engine: exact distances to the K nearest prototypes, and the patch score. */

import { SaladError } from '../errors/index.js';
import { distanceFromSquaredChord, patchScoreFromDistances, squaredDistance } from '../scoring/knn.js';
import type { EngineModelSource, PatchBatch } from './engine.js';

/**
 * Writes neighbours, distances and scores of `patchCount` patches whose embeddings are already written. The engine
 * chooses the neighbours by float32 cosines; near 1 these give a distance to about 3e-4 only. So the distances are
 * computed here from the differences of the vectors in float64. That takes K * D operations per patch, little compared
 * with the encoder, and engines agree to about 1e-6.
 * @param indices bank rows [patches, candidates] found by the engine; negative entries are empty
 * @param candidates entries for each patch: K, or more to choose the K nearest from
 * @throws SaladError ENGINE_FAILED where a patch has fewer than K rows
 */
export function scorePatches(
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
    let found = 0;
    for (let candidate = 0; candidate < candidates; candidate++) {
      const row = Number(indices[patch * candidates + candidate]);
      if (row < 0) continue;
      const squaredChord = squaredDistance(
        patches.embeddings,
        patch * bank.dimension,
        bank.prototypes,
        row * bank.dimension,
        bank.dimension,
      );
      insertSorted(rows, squared, found, row, squaredChord);
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
 * Inserts into the first `count` entries, nearest first, ties to the lowest row. In a full array the farthest entry is
 * dropped. Fast because candidates arrive nearly sorted.
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
    // A typed array ignores a write past its end, which drops the farthest entry of a full array.
    rows[at] = rows[at - 1]!;
    squared[at] = squared[at - 1]!;
    at--;
  }
  rows[at] = row;
  squared[at] = value;
}
