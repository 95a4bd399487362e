/**
 * The SALAD objective as differentiable tfjs operations (docs/explanation/salad-method.md, section 4). The memory is a constant:
 * it never receives a gradient.
 */
import * as tf from '@tensorflow/tfjs-core';

/** Added to a logit it takes a row out of a softmax: e^(−1e9) is 0 in float32. */
const MASKED = -1e9;

/**
 * What a batch is compared with. B samples, D dimensions; W is the widest Ω of the batch.
 * Rows beyond a sample's own |Ω| are masked, so samples with and without neighbours share one batch.
 */
export interface ContrastBatch {
  /** float32 [B, W, D]: memory rows of Ω, the own slot first. */
  readonly positives: tf.Tensor3D;
  /** float32 [B, W]: 0 for members of Ω, −1e9 for the padding. */
  readonly positiveMask: tf.Tensor2D;
  /** float32 [n, D]: all rows (full softmax) or the q sampled negatives. */
  readonly rows: tf.Tensor2D;
  /**
   * float32 [B, n]: added to the logits of `rows`. Full softmax: 0, or −1e9 for excluded rows.
   * Sampled: ln((n_active − |Ω|) / q), or −1e9 for members of Ω and excluded rows.
   */
  readonly rowOffset: tf.Tensor2D;
  /** False: `rows` holds every row of Ω too (full softmax). True: Ω is added to the partition apart. */
  readonly sampled: boolean;
}

/** Logits ℓ = z·mᵀ / T, [B, n]; gradient for z only: ∂L/∂z = (∂L/∂ℓ · m) / T. */
export function memoryLogits(z: tf.Tensor2D, rows: tf.Tensor2D, temperature: number): tf.Tensor2D {
  // matMul with transposeB takes a slow path on wasm, in the stock gradient as well.
  const operation = tf.customGrad((query) => ({
    value: tf.div(tf.matMul(query as tf.Tensor2D, tf.transpose(rows)), temperature),
    gradFunc: (dy) => tf.div(tf.matMul(dy as tf.Tensor2D, rows), temperature),
  }));
  return operation(z) as tf.Tensor2D;
}

/** Logits of a sample against rows of its own, [B, W]: z [B, D], rows [B, W, D]. */
export function ownLogits(z: tf.Tensor2D, rows: tf.Tensor3D, temperature: number): tf.Tensor2D {
  return tf.div(tf.sum(tf.mul(tf.expandDims(z, 1), rows), 2), temperature);
}

/**
 * L_c per sample, [B]: LSE over the partition − LSE over Ω. With Ω = {i} it is the instance loss (Eq. 1
 * with the own slot), with neighbours the neighbourhood loss (Eq. 2); never below 0 up to rounding.
 */
export function contrastiveLosses(z: tf.Tensor2D, batch: ContrastBatch, temperature: number): tf.Tensor1D {
  const positive = tf.add(ownLogits(z, batch.positives, temperature), batch.positiveMask) as tf.Tensor2D;
  const others = tf.add(memoryLogits(z, batch.rows, temperature), batch.rowOffset) as tf.Tensor2D;
  const partition = batch.sampled ? tf.concat([positive, others], 1) : others;
  return tf.sub(tf.logSumExp(partition, 1), tf.logSumExp(positive, 1));
}

/** L_c = mean over the batch, scalar. */
export function contrastiveLoss(z: tf.Tensor2D, batch: ContrastBatch, temperature: number): tf.Scalar {
  return tf.mean(contrastiveLosses(z, batch, temperature));
}

/** p = softmax of ℓ over the rows, [B, n]. */
export function memoryProbabilities(z: tf.Tensor2D, rows: tf.Tensor2D, temperature: number): tf.Tensor2D {
  return tf.softmax(memoryLogits(z, rows, temperature));
}

/**
 * In-batch two-view loss (Eq. 1 with a second augmented view as AUG_i, docs/explanation/salad-method.md, section 4): the views of
 * tile b are rows b of `first` and `second`; the other tiles' views are the negatives. Scalar.
 *
 * @param exclude float32 [B, B]: −1e9 where tile j must not count as a negative of tile i, else 0
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

/** Mean absolute ('l1') or squared ('mse') difference over all pixels; both [B, H, W, C] in [−1, 1]. */
export function reconstructionLoss(output: tf.Tensor, target: tf.Tensor, kind: 'l1' | 'mse'): tf.Scalar {
  const difference = tf.sub(output, target);
  return tf.mean(kind === 'l1' ? tf.abs(difference) : tf.square(difference));
}

export interface ContrastSample {
  /** Memory row of the sample itself. */
  readonly row: number;
  /** Its neighbours where it is an anchor this round, else empty. */
  readonly neighbours: ArrayLike<number>;
  /** Rows that may be no negatives for it; members of Ω are never taken out. */
  readonly excluded: ArrayLike<number>;
}

/**
 * Host arrays to tensors for one batch. The caller disposes of them.
 *
 * @param memory row-major float32 [n, dimension]
 * @param negatives null = full softmax over all n rows; else distinct rows, shared by the batch
 * @param allRows [n, D] tensor of `memory` where the caller already has one (full softmax only)
 */
export function contrastBatch(
  memory: { readonly rows: number; readonly dimension: number; readonly values: Float32Array },
  samples: readonly ContrastSample[],
  negatives: Int32Array | null,
  allRows?: tf.Tensor2D,
): ContrastBatch {
  const { rows, dimension, values } = memory;
  const width = 1 + samples.reduce((most, sample) => Math.max(most, sample.neighbours.length), 0);
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
    if (negatives === null) maskExcluded(offsets, sample, omega);
    else sampledOffsets(offsets, sample, omega, negatives, rows);
  });
  const negativeRows = negatives === null ? values : gather(values, dimension, negatives);
  return {
    positives: tf.tensor3d(positives, [samples.length, width, dimension]),
    positiveMask: tf.tensor2d(positiveMask, [samples.length, width]),
    rows: allRows ?? tf.tensor2d(negativeRows, [columns, dimension]),
    rowOffset: tf.tensor2d(rowOffset, [samples.length, columns]),
    sampled: negatives !== null,
  };
}

function maskExcluded(offsets: Float32Array, sample: ContrastSample, omega: readonly number[]): void {
  for (let i = 0; i < sample.excluded.length; i++) {
    const row = sample.excluded[i]!;
    if (!omega.includes(row)) offsets[row] = MASKED;
  }
}

/**
 * Ẑ = Σ_Ω e^ℓ + ((n − |Ω|)/q)·Σ_q e^ℓ (docs/explanation/salad-method.md, section 4): n counts the rows that may take part, q the
 * negatives that do, so leaving rows out keeps the estimate of what remains consistent.
 */
function sampledOffsets(
  offsets: Float32Array,
  sample: ContrastSample,
  omega: readonly number[],
  negatives: Int32Array,
  rows: number,
): void {
  const out = new Set(omega);
  for (let i = 0; i < sample.excluded.length; i++) out.add(sample.excluded[i]!);
  let usable = 0;
  for (const row of negatives) if (!out.has(row)) usable++;
  const offset = usable === 0 ? MASKED : Math.log((rows - out.size) / usable);
  negatives.forEach((row, column) => {
    offsets[column] = out.has(row) ? MASKED : offset;
  });
}

function gather(values: Float32Array, dimension: number, rows: Int32Array): Float32Array {
  const out = new Float32Array(rows.length * dimension);
  rows.forEach((row, i) => {
    out.set(values.subarray(row * dimension, (row + 1) * dimension), i * dimension);
  });
  return out;
}
