/** Run by webgpu.test.ts in a process whose environment selects SwiftShader. */
import assert from 'node:assert/strict';
import * as tf from '@tensorflow/tfjs-core';
import { after, before, describe, it } from 'mocha';
import { allocatePatchBatch } from '../../../src/engines/batch.js';
import type { Engine } from '../../../src/engines/engine.js';
import { bestEngine, checkEngines, createEngine } from '../../../src/engines/selection/select.js';
import { randomTiles, smallSource } from '../../reference/small-model.js';
import { engineSuite } from '../../support/engines/engine-suite.js';
import { goldenBundle } from '../../support/engines/golden-bundle.js';
import { poolSuite } from '../../support/engines/pool-suite.js';
import { trainingSuite } from '../../support/engines/training-suite.js';

const TIMEOUT_MS = 300_000;

interface RawDevice {
  destroy(): void;
  createBuffer(descriptor: { readonly size: number; readonly usage: number }): unknown;
}

/** The device of tfjs' backend, for injecting faults. */
function rawDevice(): RawDevice {
  return Reflect.get(tf.backend(), 'device') as RawDevice;
}

const STORAGE = 0x80;

engineSuite('webgpu', TIMEOUT_MS);
poolSuite('webgpu', TIMEOUT_MS);
trainingSuite('webgpu', TIMEOUT_MS);

describe('engine webgpu on a software adapter', function () {
  this.timeout(TIMEOUT_MS);

  it('is skipped by auto and usable where it is chosen by name', async () => {
    const auto = await checkEngines('auto');
    const report = auto.find(({ name }) => name === 'webgpu')!;
    assert.deepEqual([report.usable, report.hardware], [false, false]);
    assert.match(report.reason ?? '', /no GPU/);
    assert.match(report.device ?? '', /swiftshader.*\(software\)/i);
    assert.ok(['openvino', 'onnx'].includes(bestEngine(auto).name));
    assert.equal(bestEngine(await checkEngines('webgpu')).name, 'webgpu');
  });

  it('reproduces the golden scores of a bundle', async () => {
    const [report] = await checkEngines('webgpu', [await goldenBundle(2)]);
    assert.deepEqual([report?.usable, report?.reason], [true, null]);
    assert.ok(report!.maxAbsScoreError! < 1e-4, String(report!.maxAbsScoreError));
  });
});

describe('engine onnx on another provider', function () {
  this.timeout(TIMEOUT_MS);

  it('reproduces the golden scores of a bundle on the WebGPU provider, from one thread', async () => {
    const options = { onnxProvider: 'webgpu' } as const;
    const [report] = await checkEngines('onnx', [await goldenBundle(2)], options);
    assert.deepEqual([report?.usable, report?.reason, report?.device], [true, null, 'provider webgpu']);
    assert.ok(report!.maxAbsScoreError! < 1e-4, String(report!.maxAbsScoreError));
    const engine = await createEngine('onnx', options);
    assert.equal(engine.info.maxWorkers, 1);
    await engine.dispose();
  });
});

describe('engine webgpu when its device fails', function () {
  this.timeout(TIMEOUT_MS);
  let engine: Engine;
  before(async () => {
    engine = await createEngine('webgpu');
  });
  after(() => engine.dispose());

  it('reports a lost device as ENGINE_FAILED, and computes the same scores on a new device', async () => {
    const source = smallSource(21);
    const tiles = randomTiles(source, 2, 3);
    const model = await engine.load(source);
    const before = allocatePatchBatch(2, model);
    await model.run(tiles, before);
    rawDevice().destroy();
    const patches = allocatePatchBatch(2, model);
    await assert.rejects(model.run(tiles, patches), { reason: 'ENGINE_FAILED', message: /lost/ });
    assert.ok(patches.scores.every((score) => score === 0));
    await model.dispose();
    await engine.dispose();

    engine = await createEngine('webgpu');
    const again = await engine.load(source);
    await again.run(tiles, patches);
    await again.dispose();
    assert.deepEqual(patches.scores, before.scores);
  });

  it('reports a device lost in the middle of a batch as ENGINE_FAILED', async () => {
    const source = smallSource(22);
    const model = await engine.load(source);
    const device = rawDevice();
    const running = model.run(randomTiles(source, 8, 4), allocatePatchBatch(8, model));
    setImmediate(() => device.destroy());
    await assert.rejects(running, { reason: 'ENGINE_FAILED' });
    await model.dispose();
    await engine.dispose();
    engine = await createEngine('webgpu');
  });

  for (const [event, size, usage, message] of [
    ['a validation error', 16, 0, /usages/],
    ['a buffer larger than the device allows', 2 ** 40, STORAGE, /max buffer size/],
  ] as const) {
    it(`reports ${event} in a batch as ENGINE_FAILED and runs the next batch`, async () => {
      const source = smallSource(23);
      const model = await engine.load(source);
      const tiles = randomTiles(source, 8, 4);
      const patches = allocatePatchBatch(8, model);
      const running = model.run(tiles, patches);
      setImmediate(() => {
        rawDevice().createBuffer({ size, usage });
      });
      await assert.rejects(running, { reason: 'ENGINE_FAILED', message });
      assert.ok(patches.scores.every((score) => score === 0));
      await model.run(tiles, patches);
      assert.ok(patches.scores.some((score) => score > 0));
      await model.dispose();
    });
  }
});
