/** Blocks of bank similarities: bounded memory however many rows there are. */
import type { TrainingMemory } from './memory.js';

/**
 * Dot products of the memory rows first..last-1 with all rows: [last - first, rows], row by row.
 * Plain JS gives float64; the trainer passes one that runs on its tensor backend, which may be a GPU to wait for.
 */
export type SimilarityBlock = (
  memory: TrainingMemory,
  first: number,
  last: number,
) => Float64Array | Promise<Float32Array>;

/** Entries per block: 8 Mi float64 = 64 MiB at most. */
const BLOCK_ENTRIES = 8 * 1024 * 1024;

/** Dot products accumulated in float64. */
export const exactSimilarityBlock: SimilarityBlock = (memory, first, last) => {
  const { rows, dimension, values } = memory;
  const out = new Float64Array((last - first) * rows);
  for (let query = first; query < last; query++) {
    const q = query * dimension;
    const target = (query - first) * rows;
    for (let row = 0; row < rows; row++) {
      const r = row * dimension;
      let dot = 0;
      for (let d = 0; d < dimension; d++) dot += values[q + d]! * values[r + d]!;
      out[target + row] = dot;
    }
  }
  return out;
};

/** Calls `visit(query, similarities)` for every memory row in order; the array is only valid during the call. */
export async function forEachSimilarityRow(
  memory: TrainingMemory,
  block: SimilarityBlock,
  visit: (query: number, similarities: Float32Array | Float64Array) => void,
): Promise<void> {
  const rowsPerBlock = Math.max(1, Math.floor(BLOCK_ENTRIES / Math.max(1, memory.rows)));
  for (let first = 0; first < memory.rows; first += rowsPerBlock) {
    const last = Math.min(memory.rows, first + rowsPerBlock);
    const similarities = await block(memory, first, last);
    for (let query = first; query < last; query++) {
      const start = (query - first) * memory.rows;
      visit(query, similarities.subarray(start, start + memory.rows));
    }
  }
}
