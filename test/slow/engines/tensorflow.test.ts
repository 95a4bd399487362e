import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { join, resolve } from 'node:path';
import * as tf from '@tensorflow/tfjs-core';
import { describe, it } from 'mocha';
import { allocatePatchBatch } from '../../../src/engines/batch.js';
import { bestEngine, createEngine, ladder } from '../../../src/engines/selection/select.js';
import { randomTiles, smallSource } from '../../reference/small-model.js';
import { engineSuite } from '../../support/engine-suite.js';
import { goldenBundle } from '../../support/golden-bundle.js';
import { poolSuite } from '../../support/pool-suite.js';
import { trainingSuite } from '../../support/training-suite.js';

const root = resolve(import.meta.dirname, '../../..');
const isBuilt = existsSync(join(root, '.cache/tensorflow/node_modules/@tensorflow/tfjs-node/lib'));

if (isBuilt) {
  engineSuite('tensorflow');
  poolSuite('tensorflow');
  trainingSuite('tensorflow', 60_000);

  describe('engine tensorflow', function () {
    this.timeout(60_000);

    it('reproduces the golden scores of a bundle where it is forced', async () => {
      const rungs = await ladder('tensorflow', [await goldenBundle(8)]);
      assert.equal(bestEngine(rungs).name, 'tensorflow');
      assert.ok(rungs[0]!.maxAbsScoreError! < 1e-4);
    });

    it('serves by itself only where it stands on a CUDA device', async () => {
      const rung = (await ladder('auto')).find(({ name }) => name === 'tensorflow')!;
      assert.equal(rung.usable, rung.hardware);
      assert.match(rung.device ?? '', rung.hardware ? /^CUDA GPU, / : /^CPU, libtensorflow 2\./);
    });

    it('keeps no tensor after a run, and none at all after dispose', async () => {
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
    it('says why it does not load; npm run engines:tensorflow builds it', async () => {
      await assert.rejects(createEngine('tensorflow'), {
        reason: 'ENGINE_UNAVAILABLE',
        message: /tfjs_binding\.node is not installed|are not installed/,
      });
    });
  });
}
