/**
 * The losses of SALAD as differentiable tfjs operations (docs/explanation/salad-method.md, section 4). The memory is a
 * constant for the gradient.
 */
import * as tf from '@tensorflow/tfjs-core';
import { gatherRows, type TrainingMemory } from './memory.js';

/** Added to a logit, it removes the row from a softmax: e^(−1e9) is 0 in float32. */
export const MASKED = -1e9;

/**
 * The tensors that a batch is compared with: B samples, D dimensions, W the largest |Ω| of the batch. Entries beyond a
 * sample's own |Ω| are masked, so that samples with and without neighbours can share a batch.
 */
interface ContrastBatch {
  /** float32 [B, W, D]: memory rows of Ω, the own row first. */
  readonly positives: tf.Tensor3D;
  /** float32 [B, W]: 0 for members of Ω, −1e9 for padding. */
  readonly positiveMask: tf.Tensor2D;
  /** float32 [n, D]: all rows (full softmax) or the q sampled negatives. */
  readonly rows: tf.Tensor2D;
  /**
   * float32 [B, n]: added to the logits of `rows`. Full softmax: 0, or −1e9 for excluded rows. Sampled:
   * ln((n_active − |Ω|) / q), or −1e9 for members of Ω and excluded rows.
   */
  readonly rowOffset: tf.Tensor2D;
  /** False: `rows` includes the rows of Ω (full softmax). True: Ω is added to the partition separately. */
  readonly isSampled: boolean;
}

/** Logits ℓ = z·mᵀ / T, [B, n]; gradient for z only: ∂L/∂z = (∂L/∂ℓ · m) / T. */
export function memoryLogits(z: tf.Tensor2D, rows: tf.Tensor2D, temperature: number): tf.Tensor2D {
  // matMul with transposeB is slow on wasm, and the stock gradient uses it.
  const operation = tf.customGrad((query) => ({
    value: tf.div(tf.matMul(query as tf.Tensor2D, tf.transpose(rows)), temperature),
    gradFunc: (dy) => tf.div(tf.matMul(dy as tf.Tensor2D, rows), temperature),
  }));
  return operation(z) as tf.Tensor2D;
}

/** Logits of each sample against its own rows, [B, W]: z [B, D], rows [B, W, D]. */
function positiveLogits(z: tf.Tensor2D, rows: tf.Tensor3D, temperature: number): tf.Tensor2D {
  return tf.div(tf.sum(tf.mul(tf.expandDims(z, 1), rows), 2), temperature);
}

/**
 * L_c per sample, [B]: logsumexp over the partition − logsumexp over Ω. With Ω = {i} it is the instance loss (Eq. 1 with
 * the own row), with neighbours the neighbourhood loss (Eq. 2). At least 0, except for rounding.
 */
export function contrastiveLosses(z: tf.Tensor2D, batch: ContrastBatch, temperature: number): tf.Tensor1D {
  const positive = tf.add(positiveLogits(z, batch.positives, temperature), batch.positiveMask) as tf.Tensor2D;
  const others = tf.add(memoryLogits(z, batch.rows, temperature), batch.rowOffset) as tf.Tensor2D;
  const partition = batch.isSampled ? tf.concat([positive, others], 1) : others;
  return tf.sub(tf.logSumExp(partition, 1), tf.logSumExp(positive, 1));
}

/** L_c = mean over the batch, scalar. */
export function contrastiveLoss(z: tf.Tensor2D, batch: ContrastBatch, temperature: number): tf.Scalar {
  return tf.mean(contrastiveLosses(z, batch, temperature));
}

/**
 * Two-view loss within a batch (docs/explanation/salad-method.md, section 4): row b of `first` and of `second` are the
 * views of tile b; the views of the other tiles are the negatives. Scalar, the mean of both directions.
 *
 * @param exclude float32 [B, B]: −1e9 where tile j is no negative of tile i, else 0
 */
export function twoViewLoss(
  first: tf.Tensor2D,
  second: tf.Tensor2D,
  exclude: tf.Tensor2D,
  temperature: number,
): tf.Scalar {
  const logits = tf.add(tf.div(tf.matMul(first, tf.transpose(second)), temperature), exclude) as tf.Tensor2D;
  const own = tf.div(tf.sum(tf.mul(first, second), 1), temperature);
  const forward = tf.sub(tf.logSumExp(logits, 1), own);
  const backward = tf.sub(tf.logSumExp(tf.transpose(logits), 1), own);
  return tf.mul(tf.add(tf.mean(forward), tf.mean(backward)), 0.5);
}

/** L_r: mean absolute ('l1') or squared ('mse') difference over all pixels; both [B, H, W, C] in [−1, 1]. */
export function reconstructionLoss(output: tf.Tensor, target: tf.Tensor, kind: 'l1' | 'mse'): tf.Scalar {
  const difference = tf.sub(output, target);
  return tf.mean(kind === 'l1' ? tf.abs(difference) : tf.square(difference));
}

export interface ContrastSample {
  /** Memory row of the sample itself. */
  readonly row: number;
  /** Its neighbours where it is an anchor of this round, else empty. */
  readonly neighbours: ArrayLike<number>;
  /** Rows that are no negatives of the sample. Members of Ω are never excluded. */
  readonly excluded: ArrayLike<number>;
}

/**
 * Creates the tensors of one batch. The caller disposes of them.
 *
 * @param negatives null = full softmax over all n rows; else distinct rows, the same for all samples
 */
export function createContrastBatch(
  memory: TrainingMemory,
  samples: readonly ContrastSample[],
  negatives: Int32Array | null,
): ContrastBatch {
  const { rows, dimension, values } = memory;
  const width = 1 + samples.reduce((max, sample) => Math.max(max, sample.neighbours.length), 0);
  const positives = new Float32Array(samples.length * width * dimension);
  const positiveMask = new Float32Array(samples.length * width).fill(MASKED);
  const columns = negatives === null ? rows : negatives.length;
  const rowOffset = new Float32Array(samples.length * columns);
  samples.forEach((sample, b) => {
    const omega = [sample.row, ...Array.from(sample.neighbours)];
    omega.forEach((row, w) => {
      positiveMask[b * width + w] = 0;
      positives.set(values.subarray(row * dimension, (row + 1) * dimension), (b * width + w) * dimension);
    });
    const offsets = rowOffset.subarray(b * columns, (b + 1) * columns);
    if (negatives === null) maskExcludedRows(offsets, sample, omega);
    else fillSampledOffsets(offsets, sample, omega, negatives, rows);
  });
  const comparedRows = negatives === null ? values : gatherRows(memory, negatives);
  return {
    positives: tf.tensor3d(positives, [samples.length, width, dimension]),
    positiveMask: tf.tensor2d(positiveMask, [samples.length, width]),
    rows: tf.tensor2d(comparedRows, [columns, dimension]),
    rowOffset: tf.tensor2d(rowOffset, [samples.length, columns]),
    isSampled: negatives !== null,
  };
}

function maskExcludedRows(offsets: Float32Array, sample: ContrastSample, omega: readonly number[]): void {
  for (let i = 0; i < sample.excluded.length; i++) {
    const row = sample.excluded[i]!;
    if (!omega.includes(row)) offsets[row] = MASKED;
  }
}

/**
 * Fills the offsets of the sampled estimate Z ≈ Σ_Ω e^ℓ + ((n − |Ω|)/q)·Σ_q e^ℓ (docs/explanation/salad-method.md,
 * section 4). n counts the rows that are not excluded and q the negatives that are not, so the estimate stays unbiased
 * for the remaining rows.
 */
function fillSampledOffsets(
  offsets: Float32Array,
  sample: ContrastSample,
  omega: readonly number[],
  negatives: Int32Array,
  rows: number,
): void {
  const masked = new Set(omega);
  for (let i = 0; i < sample.excluded.length; i++) masked.add(sample.excluded[i]!);
  let usable = 0;
  for (const row of negatives) if (!masked.has(row)) usable++;
  const offset = usable === 0 ? MASKED : Math.log((rows - masked.size) / usable);
  negatives.forEach((row, column) => {
    offsets[column] = masked.has(row) ? MASKED : offset;
  });
}
