/** The training memory (docs/explanation/salad-method.md, section 5): one slot per training tile, written with momentum after each step. */
import type { RandomStream } from './random-streams.js';

/** Row-major float32 [rows, dimension]. Rows are unit vectors, except right after `initialMemory`. */
export interface TrainingMemory {
  readonly rows: number;
  readonly dimension: number;
  readonly values: Float32Array;
}

const NORM_FLOOR = 1e-12;

/** Independent uniforms in ±√(3/d): expected squared norm 1, but not exactly unit length. */
export function initialMemory(rows: number, dimension: number, random: RandomStream): TrainingMemory {
  const bound = Math.sqrt(3 / dimension);
  const values = Float32Array.from({ length: rows * dimension }, () => random.between(-bound, bound));
  return { rows, dimension, values };
}

/**
 * m ← (μ·m + (1−μ)·z) / ‖μ·m + (1−μ)·z‖ for the rows named; all other rows keep their bits.
 * A sum of length zero (z = −m at μ = 0.5) keeps m.
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

/** Row-major float32 [indices.length, dimension] copy of the rows named. */
export function gatherRows(memory: TrainingMemory, indices: ArrayLike<number>): Float32Array {
  const { dimension, values } = memory;
  const out = new Float32Array(indices.length * dimension);
  for (let i = 0; i < indices.length; i++) {
    const row = indices[i]! * dimension;
    out.set(values.subarray(row, row + dimension), i * dimension);
  }
  return out;
}
