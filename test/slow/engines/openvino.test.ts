import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { describe, it } from 'mocha';
import { allocatePatchBatch } from '../../../src/engines/batch.js';
import { bestEngine, createEngine, ladder } from '../../../src/engines/select.js';
import { readBundle } from '../../../src/model/bundle.js';
import { randomTiles, smallSource } from '../../reference/small-model.js';
import { engineSuite } from '../../support/engine-suite.js';
import { connect, end, header, rows, stream } from '../../support/grpc-client.js';
import { poolSuite } from '../../support/pool-suite.js';
import { SIDE, smallImage, smallModels, startSmall } from '../../support/small-server.js';

const root = resolve(import.meta.dirname, '../../..');
const isFetched = existsSync(join(root, '.cache/openvino'));

if (isFetched) {
  engineSuite('openvino');
  poolSuite('openvino', 60_000, 2);

  describe('engine openvino', function () {
    this.timeout(120_000);

    for (const name of ['phantom', 'chest-pediatric', 'chest-adult']) {
      it(`reproduces the golden scores of ${name} and goes before onnx`, async () => {
        const rungs = await ladder('auto', await readBundle(join(root, 'models', name, '1')));
        const own = rungs.find((rung) => rung.name === 'openvino')!;
        assert.ok(own.usable, own.reason ?? '');
        assert.ok(own.maxAbsScoreError! < 1e-4);
        assert.match(own.device ?? '', /^CPU, 1 thread, .*, OpenVINO \d{4}\.\d.*FP32/);
        const best = bestEngine(rungs);
        assert.ok(['tensorflow', 'webgpu', 'openvino'].includes(best), best);
      });
    }

    it('gives the same scores with several threads', async () => {
      const source = smallSource(61);
      const tiles = randomTiles(source, 21, 3);
      const scores: Float32Array[] = [];
      for (const sessionThreads of [1, 2]) {
        const engine = await createEngine('openvino', { sessionThreads });
        const model = await engine.load(source);
        const patches = allocatePatchBatch(tiles.count, model);
        await model.run(tiles, patches);
        scores.push(patches.scores);
        await model.dispose();
        await engine.dispose();
      }
      const [one, two] = scores as [Float32Array, Float32Array];
      assert.ok(one.every((score, at) => Math.abs(score - two[at]!) < 1e-5));
    });

    it('gives way to onnx where it is lost, and nobody outside loses anything', async () => {
      const models = await smallModels();
      const server = await startSmall(models.path, { engine: 'openvino', workers: 2, maxBatchSize: 4 });
      const client = connect(server.address);
      try {
        const image = smallImage(77);
        const whole = () => stream(client, [header(), rows(image, SIDE, 0, SIDE), end()]);
        const before = await whole();
        assert.deepEqual(before.aggregate.engines, ['openvino']);
        server.registry.pool.injectFault({ kind: 'throw', message: 'injected', lasting: true });
        const after = await whole();
        assert.ok(after.aggregate.engines.includes('onnx'));
        assert.equal(after.patches.size, before.patches.size);
        for (const [key, { score }] of before.patches) {
          assert.ok(Math.abs((after.patches.get(key)?.score ?? Number.NaN) - score) <= 1e-4);
        }
        assert.equal(after.aggregate.decision, before.aggregate.decision);
      } finally {
        client.close();
        await server.stop(0);
        await models.remove();
      }
    });
  });
} else {
  describe('engine openvino where its libraries were not fetched', () => {
    it('says so, and what fetches them', async () => {
      await assert.rejects(createEngine('openvino'), {
        reason: 'ENGINE_UNAVAILABLE',
        message: /openvino does not load: .*npm run engines:openvino/,
      });
    });
  });
}
