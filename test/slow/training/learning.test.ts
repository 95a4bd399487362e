import assert from 'node:assert/strict';
import * as tf from '@tensorflow/tfjs-core';
import { before, describe, it } from 'mocha';
import type { Weights } from '../../../src/network/description.js';
import { initialiseWeights } from '../../../src/network/initialise.js';
import { buildTfjs, tfjsParameters } from '../../../src/network/tfjs/build.js';
import { prepareTrainingBackend } from '../../../src/training/backend/prepare.js';
import { randomStream } from '../../../src/training/encoders/salad/random-streams.js';
import type { TileSource } from '../../../src/training/encoders/salad/tiles.js';
import { encoderOf } from '../../../src/training/encoders/salad/trainable-network.js';
import { trainSaladEncoder } from '../../../src/training/encoders/salad/trainer.js';
import { texture, tinyConfig } from '../../unit/training/encoders/salad/synthetic-tiles.js';

const SIZE = 32;
const config = tinyConfig({
  level: 'tile',
  baseWidth: 8,
  embedding: 16,
  downs: 2,
  batchSize: 32,
  learningRate: 2e-3,
  rate: 0.5,
  warmupEpochs: 4,
  epochsPerRound: 3,
  neighbours: 5,
  contrastWeight: 1,
  reconstructionWeight: 0.25,
  augment: { flip: 0, shift: 3, gain: 0.5, offset: 0.4, gamma: 0.2, blur: 0.2, noise: 0.05 },
});

/** Textures of `kind(index)` with an exposure that varies from tile to tile. */
function tilesOf(count: number, kind: (index: number) => number, seed: number): Uint8Array[] {
  return Array.from({ length: count }, (_, index) => {
    const random = randomStream(seed, index, 77);
    const [gain, offset] = [random.between(0.4, 1.3), random.between(-60, 60)];
    return texture(kind(index), SIZE, seed * 7919 + index).map((value) =>
      Math.min(255, Math.max(0, (value - 127) * gain + 127 + offset)),
    );
  });
}

function sourceOf(tiles: readonly Uint8Array[]): TileSource {
  const imageOf = Int32Array.from(tiles, (_, index) => index);
  return {
    count: tiles.length,
    size: SIZE,
    imageOf,
    patientOf: imageOf,
    cellOf: new Int32Array(tiles.length),
    gridSide: 1,
    overlapCells: 1,
    readTiles: (indices) => Uint8Array.from(Buffer.concat(Array.from(indices, (tile) => tiles[tile]!))),
  };
}

/** Unit embeddings in inference mode, one row per tile. */
function embed(weights: Weights, tiles: readonly Uint8Array[]): Float32Array[] {
  const built = buildTfjs(encoderOf(config, SIZE));
  return tf.tidy(() => {
    const pixels = tf.tensor4d(Float32Array.from(Buffer.concat(tiles)), [tiles.length, SIZE, SIZE, 1]);
    const { output } = built.forward(pixels, tfjsParameters(weights), 'inference');
    const values = output.dataSync<'float32'>();
    const dimension = config.embedding;
    return tiles.map((_, row) => values.slice(row * dimension, (row + 1) * dimension));
  });
}

/** Mean angular distance, in half turns, to the 5 nearest normal embeddings. */
function kNearest(query: Float32Array, bank: readonly Float32Array[]): number {
  const distances = bank
    .map((row) =>
      Math.acos(
        Math.min(
          1,
          Math.max(
            -1,
            row.reduce((sum, value, d) => sum + value * query[d]!, 0),
          ),
        ),
      ),
    )
    .sort((a, b) => a - b);
  return distances.slice(0, 5).reduce((sum, value) => sum + value, 0) / (5 * Math.PI);
}

/** Probability that an abnormal tile scores above a normal one. */
function auroc(normal: readonly number[], abnormal: readonly number[]): number {
  let wins = 0;
  for (const a of abnormal) for (const n of normal) wins += a > n ? 1 : a === n ? 0.5 : 0;
  return wins / (normal.length * abnormal.length);
}

describe('SALAD learning', function () {
  this.timeout(180_000);
  before(async () => {
    await prepareTrainingBackend('wasm');
  });

  it('lowers every loss and separates held-out abnormal tiles better than an untrained network', async () => {
    const fit = tilesOf(320, (index) => index % 3, 1);
    const normal = tilesOf(90, (index) => index % 3, 2);
    const abnormal = tilesOf(90, () => 3, 3);
    const evaluate = (weights: Weights): number => {
      const bank = embed(weights, fit);
      const score = (tiles: readonly Uint8Array[]) => embed(weights, tiles).map((row) => kNearest(row, bank));
      return auroc(score(normal), score(abnormal));
    };
    const random = evaluate(initialiseWeights(encoderOf(config, SIZE), 4));
    const { weights, history } = await trainSaladEncoder({ tiles: sourceOf(fit), config, seed: 4 });
    const trained = evaluate(weights);
    const [first, lastOfWarmup] = [history[0]!, history[config.warmupEpochs - 1]!];
    const [firstMemory, last] = [history[config.warmupEpochs]!, history.at(-1)!];
    assert.ok(lastOfWarmup.contrastLoss < first.contrastLoss - 0.1, JSON.stringify(history));
    assert.ok(last.contrastLoss < firstMemory.contrastLoss, JSON.stringify(history));
    assert.ok(last.reconstructionLoss! < 0.9 * first.reconstructionLoss!, JSON.stringify(history));
    assert.ok(trained > random + 0.02, `AUROC ${trained.toFixed(3)} against ${random.toFixed(3)} at random`);
    assert.ok(trained > 0.9, `AUROC ${trained.toFixed(3)}`);
  });
});
