import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import type { SelfTestBundle } from '../../../../src/engines/selection/golden-check.js';
import {
  bestEngine,
  createEngine,
  enginesFor,
  ladder,
  selfTest,
} from '../../../../src/engines/selection/select.js';
import { geometryOf } from '../../../../src/geometry/geometry.js';
import { smallDraft } from '../../../reference/small-model.js';

function bundle(): SelfTestBundle {
  const { manifest, weights, bank, golden } = smallDraft(41);
  const geometry = geometryOf(manifest.input, manifest.tiling);
  return {
    network: manifest.network,
    weights,
    geometry,
    search: { bank, scoring: manifest.scoring },
    golden,
    manifest,
  };
}

describe('the ladder of engines', () => {
  it('goes from the best engine to the one that always works', () => {
    assert.deepEqual(enginesFor('auto'), ['tensorflow', 'webgpu', 'openvino', 'onnx', 'wasm']);
    assert.deepEqual(enginesFor('wasm'), ['wasm']);
  });

  it('proves every engine that serves with the golden batch and says why the others cannot', async () => {
    const rungs = await ladder('auto', [bundle()]);
    assert.deepEqual(
      rungs.map(({ name }) => name),
      enginesFor('auto'),
    );
    for (const { name, usable, reason, maxAbsScoreError } of rungs) {
      if (usable) assert.ok(maxAbsScoreError !== null && maxAbsScoreError < 1e-5, name);
      else assert.match(reason ?? '', /no GPU|no Vulkan|no adapter|do(es)? not load/, name);
    }
    const usable = rungs.filter((rung) => rung.usable).map(({ name }) => name);
    assert.deepEqual(usable.slice(-2), ['onnx', 'wasm']);
    assert.equal(bestEngine(rungs).name, usable[0]);
  });

  it('refuses an engine that does not reproduce the golden scores, with the difference', async () => {
    const wrong = bundle();
    wrong.golden.scores[3]! += 0.01;
    const rungs = await ladder('auto', [wrong]);
    assert.ok(rungs.every(({ usable }) => !usable));
    const onnx = rungs.find(({ name }) => name === 'onnx')!;
    assert.match(onnx.reason ?? '', /golden scores differ by 0\.0099|golden scores differ by 0\.01/);
    assert.ok(Math.abs(onnx.maxAbsScoreError! - 0.01) < 1e-5);
    assert.throws(() => bestEngine(rungs), { reason: 'ENGINE_UNAVAILABLE' });
  });

  it('takes the engine that serves the most bundles where none serves all', async () => {
    const wrong = bundle();
    wrong.golden.scores[3]! += 0.01;
    const rungs = await ladder('auto', [wrong, bundle()]);
    const best = bestEngine(rungs);
    assert.equal(best.name, rungs.find(({ usable }) => usable)?.name);
    assert.deepEqual(
      best.selfTests.map(({ passed, precision }) => [passed, precision]),
      [
        [false, 'float32'],
        [true, 'float32'],
      ],
    );
  });

  it('refuses an engine whose embeddings are not numbers, and scores that are none', async () => {
    const engine = await createEngine('onnx');
    const broken = bundle();
    broken.weights.get('first/kernel')!.data.fill(Number.NaN);
    const { passed, maxAbsScoreError, reason } = await selfTest(engine, broken);
    assert.deepEqual([passed, maxAbsScoreError], [false, null]);
    assert.match(reason ?? '', /the search found 0 of \d neighbours/);
    const golden = bundle();
    golden.golden.scores[2] = Number.NaN;
    const judged = await selfTest(engine, golden);
    assert.deepEqual([judged.passed, judged.maxAbsScoreError], [false, Number.POSITIVE_INFINITY]);
  });

  it('refuses an engine that cannot load the model', async () => {
    const broken = bundle();
    const network = { ...broken.network, output: 'nothing' };
    const result = await selfTest(await createEngine('wasm'), { ...broken, network });
    assert.equal(result.passed, false);
    assert.match(result.reason ?? '', /nothing is not a node/);
  });

  it('says why a provider of onnxruntime is not there, and which are', async () => {
    const onnxProvider = process.platform === 'win32' ? 'coreml' : 'dml';
    const [rung] = await ladder('onnx', [bundle()], { onnxProvider });
    assert.equal(rung?.usable, false);
    assert.match(rung?.reason ?? '', new RegExp(`does not run on ${onnxProvider}: .*this build knows cpu`));
  });

  it('lets no accelerator serve by itself that has no GPU under it', async () => {
    for (const { name, usable, hardware } of await ladder('auto')) {
      if (name === 'tensorflow' || name === 'webgpu') assert.equal(usable, hardware === true);
    }
  });
});
