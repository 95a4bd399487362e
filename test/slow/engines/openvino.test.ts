import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { describe, it } from 'mocha';
import { readBundle } from '../../../src/bundle/bundle.js';
import { allocatePatchBatch } from '../../../src/engines/batch.js';
import { runGoldenCheckOnModel } from '../../../src/engines/selection/golden-check.js';
import { bestEngine, checkEngines, createEngine } from '../../../src/engines/selection/select.js';
import { hasBfloat16, inPrecision } from '../../../src/network/precision.js';
import { randomTiles, smallSource } from '../../reference/small-model.js';
import { engineSuite } from '../../support/engines/engine-suite.js';
import { injectFault, workerEntry } from '../../support/engines/faults.js';
import { poolSuite } from '../../support/engines/pool-suite.js';
import { ENGINE_ERROR_MAX } from '../../support/engines/rounding.js';
import { writeSmallBundle } from '../../support/engines/small-bundle.js';
import { connect, end, header, rows, stream } from '../../support/protocol/grpc-client.js';
import { SIDE, scoreOnce, smallImage, smallModels, startSmall } from '../../support/servers/small-server.js';

const root = resolve(import.meta.dirname, '../../..');
const isFetched = existsSync(join(root, '.cache/openvino'));

if (isFetched) {
  engineSuite('openvino');
  poolSuite('openvino', 60_000, 2);

  describe('engine openvino', function () {
    this.timeout(120_000);

    for (const name of ['phantom/1', 'chest-pediatric/1', 'chest-pediatric/2', 'chest-adult/2']) {
      it(`reproduces the golden scores of ${name} and is preferred to onnx`, async () => {
        const reports = await checkEngines('auto', [await readBundle(join(root, 'models', name))]);
        const report = reports.find(({ name: engine }) => engine === 'openvino')!;
        assert.ok(report.usable, report.reason ?? '');
        assert.ok(report.maxAbsScoreError! < 1e-4);
        assert.match(report.device ?? '', /^CPU, 1 thread, .*, OpenVINO \d{4}\.\d.*FP32/);
        const best = bestEngine(reports).name;
        assert.ok(['tensorflow', 'webgpu', 'openvino'].includes(best), best);
      });
    }

    it('computes the same scores with several threads', async () => {
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

    for (const name of ['phantom/1', 'chest-pediatric/1', 'chest-pediatric/2', 'chest-adult/2']) {
      it(`runs ${name} in bfloat16 within the tolerance where the processor supports it`, async () => {
        const bundle = await readBundle(join(root, 'models', name));
        const engine = await createEngine('openvino');
        const model = await engine.load(inPrecision(bundle, 'bfloat16'));
        const { passed, maxAbsScoreError } = await runGoldenCheckOnModel(model, bundle);
        await model.dispose();
        await engine.dispose();
        assert.ok(passed, `${maxAbsScoreError}`);
        assert.equal(model.precision, hasBfloat16() ? 'bfloat16' : 'float32');
        // The error of float32 is below 1e-5, so the size of the error shows which precision ran.
        assert.equal(maxAbsScoreError! > 1e-4, hasBfloat16());
      });
    }

    it('serves bfloat16 where the processor supports it; the aggregate names it', async () => {
      const folder = await mkdtemp(join(tmpdir(), 'salad-openvino-'));
      await writeSmallBundle(folder);
      try {
        const plain = await scoreOnce(folder, { engine: 'openvino' });
        const { aggregate, scores } = await scoreOnce(folder, { engine: 'openvino', precision: 'bfloat16' });
        const served = hasBfloat16() ? 'bfloat16' : 'float32';
        assert.deepEqual([aggregate.engines, aggregate.precisions], [['openvino'], [served]]);
        const differences = [...plain.scores].map(([at, score]) => Math.abs(scores.get(at)! - score));
        const largest = Math.max(...differences);
        assert.ok(largest < 0.05, `${largest}`);
        assert.equal(largest > 1e-6, served !== 'float32');
      } finally {
        await rm(folder, { recursive: true });
      }
    });

    it('is replaced by onnx where it is lost, and the acquisition completes with the same scores', async () => {
      const models = await smallModels();
      const server = await startSmall(
        models.path,
        { engine: 'openvino', workers: 2, maxBatchSize: 4 },
        { workerEntry },
      );
      const client = connect(server.address);
      try {
        const image = smallImage(77);
        const whole = () => stream(client, [header(), rows(image, SIDE, 0, SIDE), end()]);
        const before = await whole();
        assert.deepEqual(before.aggregate.engines, ['openvino']);
        injectFault('lose');
        const after = await whole();
        assert.ok(after.aggregate.engines.includes('onnx'));
        assert.equal(after.patches.size, before.patches.size);
        for (const [key, { score }] of before.patches) {
          const actual = after.patches.get(key)?.score ?? Number.NaN;
          assert.ok(Math.abs(actual - score) <= ENGINE_ERROR_MAX);
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
    it('is unavailable, with the command that fetches them', async () => {
      await assert.rejects(createEngine('openvino'), {
        reason: 'ENGINE_UNAVAILABLE',
        message: /openvino does not load: .*npm run engines:openvino/,
      });
    });
  });
}
