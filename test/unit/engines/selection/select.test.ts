import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { type GoldenCheckBundle, runGoldenCheck } from '../../../../src/engines/selection/golden-check.js';
import {
  bestEngine,
  candidateEngines,
  checkEngines,
  createEngine,
} from '../../../../src/engines/selection/select.js';
import { geometryOf } from '../../../../src/geometry/geometry.js';
import { smallDraft } from '../../../reference/small-model.js';

function bundle(): GoldenCheckBundle {
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

describe('the selection of an engine', () => {
  it('tries engines in the fallback order, or only the one chosen by name', () => {
    assert.deepEqual(candidateEngines('auto'), ['tensorflow', 'webgpu', 'openvino', 'onnx', 'wasm']);
    assert.deepEqual(candidateEngines('wasm'), ['wasm']);
  });

  it('runs the golden check on every engine that starts, and reports the reason for the others', async () => {
    const reports = await checkEngines('auto', [bundle()]);
    assert.deepEqual(
      reports.map(({ name }) => name),
      candidateEngines('auto'),
    );
    for (const { name, usable, reason, maxAbsScoreError } of reports) {
      if (usable) assert.ok(maxAbsScoreError !== null && maxAbsScoreError < 1e-5, name);
      else assert.match(reason ?? '', /no GPU|no Vulkan|no adapter|do(es)? not load/, name);
    }
    const usable = reports.filter((report) => report.usable).map(({ name }) => name);
    assert.deepEqual(usable.slice(-2), ['onnx', 'wasm']);
    assert.equal(bestEngine(reports).name, usable[0]);
  });

  it('refuses an engine that does not reproduce the golden scores, with the difference', async () => {
    const wrong = bundle();
    wrong.golden.scores[3]! += 0.01;
    const reports = await checkEngines('auto', [wrong]);
    assert.ok(reports.every(({ usable }) => !usable));
    const onnx = reports.find(({ name }) => name === 'onnx')!;
    assert.match(onnx.reason ?? '', /golden scores differ by 0\.0099|golden scores differ by 0\.01/);
    assert.ok(Math.abs(onnx.maxAbsScoreError! - 0.01) < 1e-5);
    assert.throws(() => bestEngine(reports), { reason: 'ENGINE_UNAVAILABLE' });
  });

  it('chooses the engine that serves the most bundles where none serves all', async () => {
    const wrong = bundle();
    wrong.golden.scores[3]! += 0.01;
    const reports = await checkEngines('auto', [wrong, bundle()]);
    const best = bestEngine(reports);
    assert.equal(best.name, reports.find(({ usable }) => usable)?.name);
    assert.deepEqual(
      best.selfTests.map(({ passed, precision }) => [passed, precision]),
      [
        [false, 'float32'],
        [true, 'float32'],
      ],
    );
  });

  it('refuses an engine whose embeddings or scores are not numbers', async () => {
    const engine = await createEngine('onnx');
    const broken = bundle();
    broken.weights.get('first/kernel')!.data.fill(Number.NaN);
    const { passed, maxAbsScoreError, reason } = await runGoldenCheck(engine, broken);
    assert.deepEqual([passed, maxAbsScoreError], [false, null]);
    assert.match(reason ?? '', /the search found 0 of \d neighbours/);
    const golden = bundle();
    golden.golden.scores[2] = Number.NaN;
    const judged = await runGoldenCheck(engine, golden);
    assert.deepEqual([judged.passed, judged.maxAbsScoreError], [false, Number.POSITIVE_INFINITY]);
  });

  it('refuses an engine that cannot load the model', async () => {
    const broken = bundle();
    const network = { ...broken.network, output: 'nothing' };
    const result = await runGoldenCheck(await createEngine('wasm'), { ...broken, network });
    assert.equal(result.passed, false);
    assert.match(result.reason ?? '', /nothing is not a node/);
  });

  it('reports why a provider of onnxruntime is unavailable, and lists the supported ones', async () => {
    const onnxProvider = process.platform === 'win32' ? 'coreml' : 'dml';
    const [report] = await checkEngines('onnx', [bundle()], { onnxProvider });
    assert.equal(report?.usable, false);
    assert.match(
      report?.reason ?? '',
      new RegExp(`does not run on ${onnxProvider}: .*this build supports cpu`),
    );
  });

  it('chooses under auto an engine for GPUs only where it runs on a GPU', async () => {
    for (const { name, usable, hardware } of await checkEngines('auto')) {
      if (name === 'tensorflow' || name === 'webgpu') assert.equal(usable, hardware === true);
    }
  });
});
