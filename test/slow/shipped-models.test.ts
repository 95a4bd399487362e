import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'mocha';
import { SaladClient } from '../../clients/typescript/src/index.js';
import { readBundle } from '../../src/bundle/bundle.js';
import { findBundle } from '../../src/bundle/repository.js';
import type { Engine } from '../../src/engines/engine.js';
import { createEngine } from '../../src/engines/selection/select.js';
import { loadDataset } from '../../src/training/data/dataset.js';
import { type EvaluationDetail, evaluateBundle } from '../../src/training/evaluate/evaluate.js';
import { halfOf } from '../../src/training/evaluate/test-half.js';
import { imageScoreErrorMax } from '../support/engines/rounding.js';
import { needsData, SHARED_DATA } from '../support/images/shared-data.js';
import { type ServeProcess, salad, startServe } from '../support/programs/salad.js';
import { root } from '../support/root.js';

/** Scores every image of the data set through the port of a real server, and compares with the offline evaluation. */
async function assertStreamedEqualsEvaluated(
  server: ServeProcess,
  model: string,
  detail: EvaluationDetail,
  data: string,
): Promise<void> {
  const { calibration } = (await readBundle(await findBundle(join(root, 'models'), model))).manifest;
  const errorMax = imageScoreErrorMax(calibration);
  const client = new SaladClient(server.address);
  try {
    const { images } = await loadDataset(data);
    let compared = 0;
    for (const image of images) {
      const evaluated = detail.images.find(({ id }) => id === image.id);
      const header = { acquisitionId: image.id.slice(-64), model: { name: model } };
      const aggregate = await client.scoreImage(header, { encoded: await readFile(image.path) });
      if (!evaluated) continue;
      const isNear = (score: number) => Math.abs(score - evaluated.score) <= errorMax;
      const scores = `${image.id}: ${aggregate.imageScore} against ${evaluated.score}`;
      assert.ok(isNear(aggregate.imageScore), scores);
      // The p-value has a step at the score of each normal, which rounding may cross.
      if (!calibration.imageScores.some(isNear)) {
        assert.ok(Math.abs(aggregate.pValue - evaluated.pValue) <= 1e-12, scores);
      }
      compared++;
    }
    assert.equal(compared, detail.images.length);
  } finally {
    client.close();
  }
}

describe('shipped models', function () {
  this.timeout(300_000);
  let server: ServeProcess;
  let engine: Engine;

  before(async () => {
    server = await startServe('--engine', 'onnx');
    engine = await createEngine('onnx');
  });

  after(async () => {
    await engine.dispose();
    await server.stop();
  });

  describe('phantom', () => {
    const data = mkdtempSync(join(tmpdir(), 'salad-phantoms-'));
    let detail: EvaluationDetail;

    before(async () => {
      // Seeds that neither training nor the choice of settings used.
      const write = (...args: string[]) => salad('phantom', '--out', data, '--size', '256', ...args);
      assert.equal((await write('--count', '40', '--seed', '5000000')).code, 0);
      assert.equal((await write('--count', '40', '--seed', '5100000', '--lesion', 'mix')).code, 0);
      const bundle = await readBundle(join(root, 'models/phantom/1'));
      detail = await evaluateBundle({ bundle, engine, dataset: await loadDataset(data) });
    });

    after(() => rmSync(data, { recursive: true, force: true }));

    it('separates effusions and consolidations from normals, and locates lesions', () => {
      const { classes } = detail.evaluation;
      for (const lesion of ['effusion', 'consolidation']) {
        const figures = classes[lesion];
        assert.ok((figures?.auroc ?? 0) >= 0.9, `${lesion}: AUROC ${figures?.auroc}`);
        assert.ok((figures?.localisation?.patchAuroc ?? 0) >= 0.9, `${lesion}: patch AUROC`);
        assert.ok((figures?.localisation?.pointingHit ?? 0) >= 0.7, `${lesion}: pointing hit`);
      }
    });

    it('has the same scores through the port as in the evaluation', () =>
      assertStreamedEqualsEvaluated(server, 'phantom', detail, data));
  });

  for (const { model, folder, aurocLeast } of [
    { model: 'chest-pediatric', folder: 'zhanglab/test', aurocLeast: 0.92 },
    { model: 'chest-adult', folder: 'nih-rsna/test', aurocLeast: 0.88 },
  ]) {
    const images = join(SHARED_DATA, folder);
    describe(`${model} on the test images of ${folder}`, () => {
      let detail: EvaluationDetail;

      before(async function () {
        needsData(this, images);
        const bundle = await readBundle(join(root, 'models', model, '2'));
        // The other part is for published results alone.
        const dataset = halfOf(await loadDataset(images), 'choose');
        detail = await evaluateBundle({ bundle, engine, dataset });
      });

      it('separates pneumonia from normals as its model card says', () => {
        const { auroc, aurocCi95 } = detail.evaluation.classes['pneumonia']!;
        assert.ok(auroc >= aurocLeast, `AUROC ${auroc}`);
        assert.ok(aurocCi95[0] < auroc && auroc < aurocCi95[1]);
      });

      it('has the same scores through the port as in the evaluation', () =>
        assertStreamedEqualsEvaluated(server, model, detail, images));
    });
  }
});
