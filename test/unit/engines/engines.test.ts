import assert from 'node:assert/strict';
import * as tf from '@tensorflow/tfjs-core';
import { describe, it } from 'mocha';
import { allocatePatchBatch } from '../../../src/engines/batch.js';
import { createEngine } from '../../../src/engines/selection/select.js';
import { randomTiles, smallSource } from '../../reference/small-model.js';
import { engineSuite } from '../../support/engines/engine-suite.js';

for (const name of ['onnx', 'wasm'] as const) engineSuite(name);

describe('engine wasm', () => {
  it('keeps no new tensor after a run, and no tensor after dispose', async () => {
    const engine = await createEngine('wasm');
    const source = smallSource(18);
    const start = tf.memory().numTensors;
    const model = await engine.load(source);
    const loaded = tf.memory().numTensors;
    const patches = allocatePatchBatch(2, model);
    for (let round = 0; round < 3; round++) await model.run(randomTiles(source, 2, round), patches);
    assert.equal(tf.memory().numTensors, loaded);
    assert.ok(loaded > start);
    await model.dispose();
    assert.equal(tf.memory().numTensors, start);
  });
});
