/** Computes the similarities between memory rows in blocks of bounded size. */
import * as tf from '@tensorflow/tfjs-core';
import { readTensor } from '../../backend/read-tensor.js';
import type { TrainingMemory } from './memory.js';

/**
 * Computes the dot products of memory rows first..last-1 with all rows: [last - first, rows], row by row. The plain
 * version returns float64. The version on the tensor backend, which may be a GPU, returns a promise.
 */
export type SimilarityBlock = (
  memory: TrainingMemory,
  first: number,
  last: number,
) => Float64Array | Promise<Float32Array>;

/** Most entries of a block: 8 Mi float64 = 64 MiB. */
const BLOCK_ENTRIES = 8 * 1024 * 1024;

/** Dot products in plain JavaScript, accumulated in float64. */
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

/** Dot products in float32 on the current tensor backend; on wasm about ten times faster than plain JavaScript. */
export const backendSimilarityBlock: SimilarityBlock = async (memory, first, last) => {
  const products = tf.tidy(() => {
    const rows = tf.tensor2d(memory.values, [memory.rows, memory.dimension]);
    const queries = tf.slice(rows, [first, 0], [last - first, memory.dimension]);
    return tf.matMul(queries, tf.transpose(rows));
  });
  const values = await readTensor(products);
  products.dispose();
  return values;
};

/** Calls `visit(query, similarities)` for every memory row in order. The array is valid only during the call. */
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
