import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { allocatePatchBatch } from '../../../../../src/engines/batch.js';
import type { Engine } from '../../../../../src/engines/engine.js';
import { createOnnxEngine } from '../../../../../src/engines/onnx/onnx-engine.js';
import { createWasmEngine } from '../../../../../src/engines/tfjs/wasm/wasm-engine.js';
import { type Geometry, geometryOf } from '../../../../../src/geometry/geometry.js';
import type { DescriptorNetwork } from '../../../../../src/training/encoders/fit-whitening.js';
import { gaborNetwork, RECIPE_GABOR } from '../../../../../src/training/encoders/gabor/network.js';
import {
  gaborStreamNetwork,
  STREAM_GABOR,
} from '../../../../../src/training/encoders/gabor/stream-network.js';
import { createRandom } from '../../../../../src/util/random.js';

function oneTile(size: number, patchesPerSide: number): Geometry {
  return geometryOf(
    { workingSize: size, fit: 'stretch', intensity: { kind: 'window' }, orientation: '' },
    {
      coreSize: size,
      haloSize: 0,
      patchesPerSide,
      patchStride: 16,
      patchSize: 32,
      patchOffset: 0,
      minStd: 0,
    },
  );
}

async function descriptors(
  engine: Engine,
  { network, weights }: DescriptorNetwork,
  geometry: Geometry,
  pixels: Uint8Array,
): Promise<Float32Array> {
  const model = await engine.load({ network, weights, geometry });
  const patches = allocatePatchBatch(1, model);
  await model.run({ count: 1, pixels, positions: new Int32Array(2) }, patches);
  await model.dispose();
  return patches.embeddings.slice();
}

/** Smooth anatomy with noise on one half, black as behind a collimator on the other, where log and root are steep. */
function tile(size: number, gain = 1): Uint8Array {
  const random = createRandom(3);
  return Uint8Array.from({ length: size * size }, (_, at) => {
    const x = at % size;
    return x < size / 2 ? 0 : gain * (90 + 30 * Math.sin(x / 7) + 20 * random());
  });
}

const largestDifference = (a: Float32Array, b: Float32Array): number =>
  a.reduce((largest, value, i) => Math.max(largest, Math.abs(value - b[i]!)), 0);

describe('gabor networks', () => {
  const cases = [
    {
      name: 'gabor',
      descriptor: gaborNetwork({ ...RECIPE_GABOR, workingSize: 128, levels: 4 }),
      geometry: oneTile(128, 3),
    },
    { name: 'gabor-stream', descriptor: gaborStreamNetwork(), geometry: oneTile(80, 2) },
  ];
  for (const { name, descriptor, geometry } of cases) {
    it(`give the same ${name} descriptors in onnx and in wasm, also in black areas`, async () => {
      const pixels = tile(geometry.tileHeight);
      const [onnx, wasm] = [await createOnnxEngine(), await createWasmEngine()];
      const onnxDescriptors = await descriptors(onnx, descriptor, geometry, pixels);
      const wasmDescriptors = await descriptors(wasm, descriptor, geometry, pixels);
      assert.ok(onnxDescriptors.some((value) => Math.abs(value) > 0.5));
      const difference = largestDifference(onnxDescriptors, wasmDescriptors);
      assert.ok(difference < 2e-4, `${difference}`);
      await onnx.dispose();
      await wasm.dispose();
    });
  }

  it('depend less on exposure where they are gain-invariant', async () => {
    const engine = await createOnnxEngine();
    const geometry = oneTile(80, 2);
    const shift = async (gainInvariant: boolean): Promise<number> => {
      const descriptor = gaborStreamNetwork({ ...STREAM_GABOR, gainInvariant });
      const [full, dim] = [tile(80, 1.6), tile(80, 0.8)];
      // The last patch column covers anatomy only; its first 32 channels are the means of the log magnitudes.
      const from = descriptor.dimension;
      const means = async (pixels: Uint8Array): Promise<Float32Array> =>
        (await descriptors(engine, descriptor, geometry, pixels)).slice(from, from + 32);
      return largestDifference(await means(full), await means(dim));
    };
    const [invariant, plain] = [await shift(true), await shift(false)];
    assert.ok(invariant < plain / 2, `${invariant} against ${plain}`);
    await engine.dispose();
  });
});
