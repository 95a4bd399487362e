import assert from 'node:assert/strict';
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import * as tf from '@tensorflow/tfjs-core';
import { after, before, describe, it } from 'mocha';
import { checkWeights } from '../../../../../src/network/shapes.js';
import { prepareTrainingBackend } from '../../../../../src/training/backend/prepare.js';
import { CHECKPOINT_FILE, readCheckpoint } from '../../../../../src/training/encoders/salad/checkpoint.js';
import type { SaladConfig } from '../../../../../src/training/encoders/salad/config.js';
import type { SaladProgress } from '../../../../../src/training/encoders/salad/progress.js';
import {
  type SaladTrainingOptions,
  type TrainedEncoder,
  trainSaladEncoder,
} from '../../../../../src/training/encoders/salad/trainer.js';
import { syntheticTiles, tinyConfig } from './synthetic-tiles.js';

const tiles = syntheticTiles(7, 2, 16, 1);

function bytesOf({ weights }: TrainedEncoder): Buffer {
  return Buffer.concat(
    [...weights.values()].map(({ data }) => Buffer.from(data.buffer, data.byteOffset, data.byteLength)),
  );
}
const train = (changes: Partial<SaladConfig> = {}, more: Partial<SaladTrainingOptions> = {}) =>
  trainSaladEncoder({ tiles, config: tinyConfig(changes), seed: 5, ...more });

describe('SALAD trainer', () => {
  let directory = '';
  before(async () => {
    await prepareTrainingBackend('wasm');
    directory = await mkdtemp(path.join(tmpdir(), 'salad-trainer-'));
  });
  after(async () => {
    await rm(directory, { recursive: true });
    await prepareTrainingBackend('cpu');
  });

  it('trains through warm-up and all rounds and returns weights that fit the network', async () => {
    const reports: SaladProgress[] = [];
    const before = tf.memory().numTensors;
    const trained = await train({}, { onProgress: (progress) => reports.push(progress) });
    checkWeights(trained.network, trained.weights);
    assert.deepEqual(
      trained.history.map(({ phase, round, contrast, anchors, steps }) => [
        phase,
        round,
        contrast,
        anchors,
        steps,
      ]),
      [
        ['warmup', -1, 'two-view', 0, 2],
        ['round', 0, 'memory', 0, 2],
        ['round', 1, 'memory', 14, 2],
        ['round', 2, 'memory', 28, 2],
      ],
    );
    assert.ok(trained.history.every(({ loss, reconstructionLoss }) => loss > 0 && reconstructionLoss! > 0));
    assert.equal(reports.length, 8);
    assert.equal(reports.at(-1)!.secondsLeft, 0);
    assert.equal(tf.memory().numTensors, before);
  });

  it('writes identical bytes for the same seed and others for another seed', async () => {
    const first = bytesOf(await train());
    assert.deepEqual(bytesOf(await train()), first);
    assert.notDeepEqual(bytesOf(await train({}, { seed: 6 })), first);
  });

  it('has another result for every changed option', async () => {
    const base = { warmupEpochs: 0, initialMemory: 'random' } as const;
    const plain = bytesOf(await train({ ...base, rate: 0.5 }));
    const variants: Partial<SaladConfig>[] = [
      { neighbours: 1 },
      { negatives: 9 },
      { selfMaskedEntropy: true },
      { reconstruction: 'mse' },
      { reconstructionWeight: 0 },
      { warmup: 'memory', warmupEpochs: 1 },
      { tilesPerImage: 2 },
      { level: 'image' },
      { channels: 3 },
    ];
    for (const variant of variants) {
      assert.notDeepEqual(bytesOf(await train({ ...base, ...variant })), plain, JSON.stringify(variant));
    }
  });

  it('writes the bytes of an uninterrupted run when it resumes after an abort at any batch', async () => {
    const whole = await train();
    for (const stopAfter of [1, 3, 5, 6]) {
      const checkpointDir = path.join(directory, `abort-${stopAfter}`);
      const controller = new AbortController();
      let batches = 0;
      const onProgress = (): void => {
        batches++;
        if (batches === stopAfter) controller.abort();
      };
      await assert.rejects(
        train({}, { checkpointDirectory: checkpointDir, signal: controller.signal, onProgress }),
        {
          reason: 'CANCELLED',
        },
      );
      const resumed = await train({}, { checkpointDirectory: checkpointDir, resume: true });
      assert.deepEqual(bytesOf(resumed), bytesOf(whole), `stopped after ${stopAfter}`);
      assert.deepEqual(resumed.history, whole.history);
    }
  });

  it('replaces checkpoints atomically and leaves no partial file', async () => {
    const checkpointDir = path.join(directory, 'atomic');
    await train({}, { checkpointDirectory: checkpointDir, checkpointEverySeconds: 0 });
    assert.deepEqual(await readdir(checkpointDir), [CHECKPOINT_FILE]);
    assert.equal((await readCheckpoint(checkpointDir))!.meta.epoch, 4);
    const again = await train({}, { checkpointDirectory: checkpointDir, resume: true });
    assert.deepEqual(bytesOf(again), bytesOf(await train()));
  });

  it('refuses to resume with another configuration, seed or data, or from a damaged file', async () => {
    const checkpointDir = path.join(directory, 'mismatch');
    await train({}, { checkpointDirectory: checkpointDir });
    const resume = (changes: Partial<SaladConfig>, more: Partial<SaladTrainingOptions> = {}) =>
      train(changes, { checkpointDirectory: checkpointDir, resume: true, ...more });
    await assert.rejects(resume({ momentum: 0.9 }), { reason: 'CONFIGURATION_INVALID' });
    await assert.rejects(resume({}, { seed: 9 }), { reason: 'CONFIGURATION_INVALID' });
    await assert.rejects(resume({}, { tiles: syntheticTiles(7, 2, 16, 2) }), {
      reason: 'TRAINING_DATA_INVALID',
    });
    const file = path.join(checkpointDir, CHECKPOINT_FILE);
    const bytes = await readFile(file);
    await writeFile(file, bytes.subarray(0, bytes.length - 10));
    await assert.rejects(resume({}), { reason: 'TRAINING_DATA_INVALID' });
  });

  it('refuses invalid configurations and too little data', async () => {
    await assert.rejects(train({ temperature: 0 }), (error: Error) => /temperature/.test(error.message));
    await assert.rejects(train({ contrastWeight: 0, reconstructionWeight: 0 }), {
      reason: 'CONFIGURATION_INVALID',
    });
    await assert.rejects(train({}, { tiles: syntheticTiles(1, 2, 16, 1) }), {
      reason: 'TRAINING_DATA_INVALID',
    });
    await assert.rejects(train({ neighbours: 28 }), { reason: 'TRAINING_DATA_INVALID' });
    await assert.rejects(train({ downs: 3 }), { reason: 'CONFIGURATION_INVALID' });
    await assert.rejects(train({}, { tiles: { ...tiles, imageOf: [0] } }), {
      reason: 'TRAINING_DATA_INVALID',
    });
  });
});
