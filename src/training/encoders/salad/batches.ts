/** One batch of a training run: which slots, which views, and what their embeddings are compared with. */
import * as tf from '@tensorflow/tfjs-core';
import { shuffledIndices } from '../../../util/random.js';
import type { Anchors } from './anchors.js';
import { augmentTile } from './augment.js';
import type { SaladConfig } from './config.js';
import { type ContrastSample, contrastBatch, contrastiveLoss, twoViewLoss } from './losses.js';
import type { TrainingMemory } from './memory.js';
import { RANDOM_PURPOSE, randomStream } from './random-streams.js';
import type { SlotTable, TileSource } from './tiles.js';

/** What makes batches; its random numbers depend on the counters passed in and on nothing else. */
export interface BatchMaker {
  readonly tiles: TileSource;
  readonly slots: SlotTable;
  readonly config: SaladConfig;
  readonly seed: number;
}

/** Slots of one batch in the epoch's order. */
export function batchSlots(maker: BatchMaker, epoch: number, step: number): Int32Array {
  const random = randomStream(maker.seed, RANDOM_PURPOSE.order, epoch);
  const order = shuffledIndices(maker.slots.count, random.uniform);
  const { batchSize } = maker.config;
  return order.slice(step * batchSize, (step + 1) * batchSize);
}

/** Augmented views, float32 [views * B, size, size, 1]: the first view of every tile, then the second. */
export async function augmentedViews(
  maker: BatchMaker,
  slots: Int32Array,
  epoch: number,
  views: 1 | 2,
): Promise<tf.Tensor4D> {
  const { tiles, config, seed } = maker;
  const area = tiles.size * tiles.size;
  const samples = await tiles.get(slots.map((slot) => maker.slots.tileOf[slot]!));
  const pixels = new Float32Array(views * slots.length * area);
  for (let view = 0; view < views; view++) {
    slots.forEach((slot, b) => {
      const random = randomStream(seed, RANDOM_PURPOSE.augment, epoch, slot, view);
      const at = (view * slots.length + b) * area;
      const tile = samples.subarray(b * area, (b + 1) * area);
      augmentTile(tile, tiles.size, config.augment, random, pixels.subarray(at, at + area));
    });
  }
  return tf.tensor4d(pixels, [views * slots.length, tiles.size, tiles.size, 1]);
}

/** Tiles as they are, float32 [slots.length, size, size, 1]. */
export async function plainTiles(maker: BatchMaker, slots: Int32Array): Promise<tf.Tensor4D> {
  const { size } = maker.tiles;
  const samples = await maker.tiles.get(slots.map((slot) => maker.slots.tileOf[slot]!));
  return tf.tensor4d(Float32Array.from(samples), [slots.length, size, size, 1]);
}

/** A loss over embeddings together with the constants it holds on the tensor backend. */
export interface BatchContrast {
  readonly loss: (embeddings: tf.Tensor2D) => tf.Scalar;
  dispose(): void;
}

/** Instance and neighbourhood losses against the memory as it is now. */
export function memoryContrast(
  maker: BatchMaker,
  slots: Int32Array,
  memory: TrainingMemory,
  anchors: Anchors,
  epoch: number,
  step: number,
): BatchContrast {
  const { config, seed } = maker;
  const samples: ContrastSample[] = Array.from(slots, (row) => ({
    row,
    neighbours: anchors.neighbours.get(row) ?? [],
    excluded: maker.slots.overlapping(row),
  }));
  let negatives: Int32Array | null = null;
  if (config.negatives !== null && config.negatives < memory.rows) {
    const random = randomStream(seed, RANDOM_PURPOSE.negatives, epoch, step);
    negatives = distinctRows(config.negatives, memory.rows, random.integer);
  }
  const batch = contrastBatch(memory, samples, negatives);
  return {
    loss: (embeddings) => contrastiveLoss(embeddings, batch, config.temperature),
    dispose: () => tf.dispose([batch.positives, batch.positiveMask, batch.rows, batch.rowOffset]),
  };
}

/** `count` distinct rows of 0..rows-1 (Floyd's algorithm), ascending. */
function distinctRows(count: number, rows: number, integer: (bound: number) => number): Int32Array {
  const chosen = new Set<number>();
  for (let last = rows - count; last < rows; last++) {
    const pick = integer(last + 1);
    chosen.add(chosen.has(pick) ? last : pick);
  }
  return Int32Array.from(chosen).sort();
}

/** In-batch contrast of two views [2B, D]; overlapping tiles of one image are no negatives. */
export function twoViewContrast(maker: BatchMaker, slots: Int32Array): BatchContrast {
  const count = slots.length;
  const masks = new Float32Array(count * count);
  slots.forEach((slot, i) => {
    const overlapping = new Set(maker.slots.overlapping(slot));
    slots.forEach((other, j) => {
      if (overlapping.has(other)) masks[i * count + j] = -1e9;
    });
  });
  const exclude = tf.tensor2d(masks, [count, count]);
  const { temperature } = maker.config;
  return {
    loss: (embeddings) => {
      const [first, second] = tf.split(embeddings, 2, 0) as [tf.Tensor2D, tf.Tensor2D];
      return twoViewLoss(first, second, exclude, temperature);
    },
    dispose: () => exclude.dispose(),
  };
}
