/**
 * The training memory M (docs/explanation/salad-method.md, section 5): one row per training tile, updated with momentum
 * after each step.
 */
import type { RandomStream } from './random-streams.js';

/** Row-major float32 [rows, dimension]. Rows are unit vectors, except before their first update after `createMemory`. */
export interface TrainingMemory {
  readonly rows: number;
  readonly dimension: number;
  readonly values: Float32Array;
}

const NORM_FLOOR = 1e-12;

/** Creates a memory of independent uniform values in ±√(3/d): the expected squared norm is 1, the length only near 1. */
export function createMemory(rows: number, dimension: number, random: RandomStream): TrainingMemory {
  const bound = Math.sqrt(3 / dimension);
  const values = Float32Array.from({ length: rows * dimension }, () => random.between(-bound, bound));
  return { rows, dimension, values };
}

/**
 * m ← (μ·m + (1−μ)·z) / ‖μ·m + (1−μ)·z‖ for the rows `indices`; all other rows are unchanged. Where the sum has length
 * zero (z = −m at μ = 0.5), m is unchanged.
 *
 * @param embeddings float32 [indices.length, dimension], unit length
 */
export function updateMemory(
  memory: TrainingMemory,
  indices: ArrayLike<number>,
  embeddings: Float32Array,
  momentum: number,
): void {
  const { dimension, values } = memory;
  const mixed = new Float64Array(dimension);
  for (let sample = 0; sample < indices.length; sample++) {
    const row = indices[sample]! * dimension;
    const from = sample * dimension;
    let squares = 0;
    for (let d = 0; d < dimension; d++) {
      const value = momentum * values[row + d]! + (1 - momentum) * embeddings[from + d]!;
      mixed[d] = value;
      squares += value * value;
    }
    const norm = Math.sqrt(squares);
    if (!(norm > NORM_FLOOR)) continue;
    for (let d = 0; d < dimension; d++) values[row + d] = mixed[d]! / norm;
  }
}

/** Copies the rows `indices`, row-major float32 [indices.length, dimension]. */
export function gatherRows(memory: TrainingMemory, indices: ArrayLike<number>): Float32Array {
  const { dimension, values } = memory;
  const out = new Float32Array(indices.length * dimension);
  for (let i = 0; i < indices.length; i++) {
    const row = indices[i]! * dimension;
    out.set(values.subarray(row, row + dimension), i * dimension);
  }
  return out;
}
