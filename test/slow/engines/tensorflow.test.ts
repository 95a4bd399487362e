import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { join, resolve } from 'node:path';
import * as tf from '@tensorflow/tfjs-core';
import { describe, it } from 'mocha';
import { allocatePatchBatch } from '../../../src/engines/batch.js';
import { bestEngine, checkEngines, createEngine } from '../../../src/engines/selection/select.js';
import { randomTiles, smallSource } from '../../reference/small-model.js';
import { engineSuite } from '../../support/engines/engine-suite.js';
import { goldenBundle } from '../../support/engines/golden-bundle.js';
import { poolSuite } from '../../support/engines/pool-suite.js';
import { trainingSuite } from '../../support/engines/training-suite.js';

const root = resolve(import.meta.dirname, '../../..');
const isBuilt = existsSync(join(root, '.cache/tensorflow/node_modules/@tensorflow/tfjs-node/lib'));

if (isBuilt) {
  engineSuite('tensorflow');
  poolSuite('tensorflow');
  trainingSuite('tensorflow', 60_000);

  describe('engine tensorflow', function () {
    this.timeout(60_000);

    it('reproduces the golden scores of a bundle where it is chosen by name', async () => {
      const reports = await checkEngines('tensorflow', [await goldenBundle(8)]);
      assert.equal(bestEngine(reports).name, 'tensorflow');
      assert.ok(reports[0]!.maxAbsScoreError! < 1e-4);
    });

    it('is usable under auto only on a CUDA device', async () => {
      const report = (await checkEngines('auto')).find(({ name }) => name === 'tensorflow')!;
      assert.equal(report.usable, report.hardware);
      assert.match(report.device ?? '', report.hardware ? /^CUDA GPU, / : /^CPU, libtensorflow 2\./);
    });

    it('keeps no new tensor after a run, and no tensor after dispose', async () => {
      const engine = await createEngine('tensorflow');
      const start = tf.memory().numTensors;
      const source = smallSource(31);
      const model = await engine.load(source);
      const loaded = tf.memory().numTensors;
      await model.run(randomTiles(source, 3, 1), allocatePatchBatch(3, model));
      assert.equal(tf.memory().numTensors, loaded);
      await model.dispose();
      assert.equal(tf.memory().numTensors, start);
    });
  });
} else {
  describe('engine tensorflow where no binding is built', () => {
    it('is unavailable, with the reason (npm run engines:tensorflow builds it)', async () => {
      await assert.rejects(createEngine('tensorflow'), {
        reason: 'ENGINE_UNAVAILABLE',
        message: /tfjs_binding\.node is not installed|are not installed/,
      });
    });
  });
}
