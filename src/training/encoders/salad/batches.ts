/** Assembles the batches of a training run: their memory rows, their augmented views and their contrast loss. */
import * as tf from '@tensorflow/tfjs-core';
import { shuffledIndices } from '../../../util/random.js';
import type { Anchors } from './anchors.js';
import { augmentTile } from './augment.js';
import type { SaladConfig } from './config.js';
import { type ContrastSample, contrastiveLoss, createContrastBatch, MASKED, twoViewLoss } from './losses.js';
import type { TrainingMemory } from './memory.js';
import { RANDOM_PURPOSE, randomStream } from './random-streams.js';
import type { MemoryRows, TileSource } from './tiles.js';

/** What batches are made from. Their random numbers depend on the seed and on the counters passed in, nothing else. */
export interface BatchContext {
  readonly tiles: TileSource;
  readonly rows: MemoryRows;
  readonly config: SaladConfig;
  readonly seed: number;
}

/** Memory rows of one batch, in the shuffled order of the epoch. */
export function batchRows({ rows, config, seed }: BatchContext, epoch: number, step: number): Int32Array {
  const random = randomStream(seed, RANDOM_PURPOSE.order, epoch);
  const order = shuffledIndices(rows.count, random.uniform);
  return order.slice(step * config.batchSize, (step + 1) * config.batchSize);
}

/** Pixels of the tiles of some memory rows, uint8 [rows.length, size, size]. */
async function readRowTiles({ tiles, rows }: BatchContext, batch: Int32Array): Promise<Uint8Array> {
  return tiles.readTiles(batch.map((row) => rows.tileOf[row]!));
}

/** Makes augmented views, float32 [views * B, size, size, 1]: the first view of every tile, then the second. */
export async function readAugmentedViews(
  context: BatchContext,
  batch: Int32Array,
  epoch: number,
  views: 1 | 2,
): Promise<tf.Tensor4D> {
  const { tiles, config, seed } = context;
  const area = tiles.size * tiles.size;
  const samples = await readRowTiles(context, batch);
  const pixels = new Float32Array(views * batch.length * area);
  for (let view = 0; view < views; view++) {
    batch.forEach((row, b) => {
      const random = randomStream(seed, RANDOM_PURPOSE.augment, epoch, row, view);
      const at = (view * batch.length + b) * area;
      const tile = samples.subarray(b * area, (b + 1) * area);
      augmentTile(tile, tiles.size, config.augment, random, pixels.subarray(at, at + area));
    });
  }
  return tf.tensor4d(pixels, [views * batch.length, tiles.size, tiles.size, 1]);
}

/** Reads tiles without augmentation, float32 [B, size, size, 1]. */
export async function readPlainTiles(context: BatchContext, batch: Int32Array): Promise<tf.Tensor4D> {
  const { size } = context.tiles;
  return tf.tensor4d(Float32Array.from(await readRowTiles(context, batch)), [batch.length, size, size, 1]);
}

/** A contrast loss L_c of the batch's embeddings, and the constants that it holds on the tensor backend. */
export interface ContrastLoss {
  readonly loss: (embeddings: tf.Tensor2D) => tf.Scalar;
  dispose(): void;
}

/** Instance and neighbourhood losses against the present content of the memory. */
export function memoryContrastLoss(
  { rows, config, seed }: BatchContext,
  batch: Int32Array,
  memory: TrainingMemory,
  anchors: Anchors,
  epoch: number,
  step: number,
): ContrastLoss {
  const samples: ContrastSample[] = Array.from(batch, (row) => ({
    row,
    neighbours: anchors.neighbours.get(row) ?? [],
    excluded: rows.overlapping(row),
  }));
  let negatives: Int32Array | null = null;
  if (config.negatives !== null && config.negatives < memory.rows) {
    const random = randomStream(seed, RANDOM_PURPOSE.negatives, epoch, step);
    negatives = sampleDistinctRows(config.negatives, memory.rows, random.integer);
  }
  const tensors = createContrastBatch(memory, samples, negatives);
  return {
    loss: (embeddings) => contrastiveLoss(embeddings, tensors, config.temperature),
    dispose: () => tf.dispose([tensors.positives, tensors.positiveMask, tensors.rows, tensors.rowOffset]),
  };
}

/** Draws `count` distinct rows of 0..rows-1 (Floyd's algorithm), ascending. */
function sampleDistinctRows(count: number, rows: number, integer: (bound: number) => number): Int32Array {
  const chosen = new Set<number>();
  for (let last = rows - count; last < rows; last++) {
    const pick = integer(last + 1);
    chosen.add(chosen.has(pick) ? last : pick);
  }
  return Int32Array.from(chosen).sort();
}

/** Two-view loss within the batch, of embeddings [2B, d]; overlapping tiles of one image are no negatives. */
export function twoViewContrastLoss({ rows, config }: BatchContext, batch: Int32Array): ContrastLoss {
  const count = batch.length;
  const mask = new Float32Array(count * count);
  batch.forEach((row, i) => {
    const overlapping = new Set(rows.overlapping(row));
    batch.forEach((other, j) => {
      if (overlapping.has(other)) mask[i * count + j] = MASKED;
    });
  });
  const exclude = tf.tensor2d(mask, [count, count]);
  return {
    loss: (embeddings) => {
      const [first, second] = tf.split(embeddings, 2, 0) as [tf.Tensor2D, tf.Tensor2D];
      return twoViewLoss(first, second, exclude, config.temperature);
    },
    dispose: () => exclude.dispose(),
  };
}
