import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { allocatePatchBatch } from '../../../../src/engines/batch.js';
import type { Engine } from '../../../../src/engines/engine.js';
import { createOnnxEngine } from '../../../../src/engines/onnx/onnx-engine.js';
import { createWasmEngine } from '../../../../src/engines/tfjs/wasm/wasm-engine.js';
import { geometryOf } from '../../../../src/geometry/geometry.js';
import { defaultPixelFormat } from '../../../../src/imaging/pixel-format.js';
import { WorkingImage } from '../../../../src/imaging/working-image.js';
import { initialiseWeights } from '../../../../src/network/initialise.js';
import { inferShapes } from '../../../../src/network/shapes.js';
import { gaborNetwork } from '../../../../src/training/encoders/gabor/network.js';
import { gaborSettings } from '../../../../src/training/encoders/gabor/presets.js';
import {
  dense,
  type HybridSettings,
  joined,
  learnedMember,
  patchSource,
} from '../../../../src/training/encoders/hybrid/hybrid.js';
import type { Encoder } from '../../../../src/training/encoders/preset.js';
import { withFreeEmbeddingName } from '../../../../src/training/encoders/salad/settings.js';
import { encoderOf } from '../../../../src/training/encoders/salad/trainable-network.js';
import { findPreset } from '../../../../src/training/fit/presets.js';
import { createRandom } from '../../../../src/util/random.js';

function settingsOf(workingSize: number): HybridSettings {
  const settings = gaborSettings({ workingSize });
  return { ...settings, learned: learnedMember(settings.window * settings.cell), learnedShare: 0.3 };
}

/** Both members with first weights, each of unit length. */
function members(settings: HybridSettings): readonly [fixed: Encoder, learned: Encoder] {
  const { network, weights } = gaborNetwork(settings);
  const nodes = [...network.nodes, { name: 'unit', op: 'l2Normalize', input: network.output }] as const;
  const patch = encoderOf(settings.learned, settings.window * settings.cell);
  const whole = withFreeEmbeddingName(dense(patch, settings));
  return [
    { network: { ...network, nodes: [...nodes], output: 'unit' }, weights },
    { network: whole, weights: initialiseWeights(whole, 7) },
  ];
}

async function embeddings(engine: Engine, encoder: Encoder, pixels: Uint8Array): Promise<Float32Array[]> {
  const { input, tiling } = findPreset('hybrid').plan({ workingSize: 128 });
  const model = await engine.load({ ...encoder, geometry: geometryOf(input, tiling) });
  const patches = allocatePatchBatch(1, model);
  await model.run({ count: 1, pixels, positions: new Int32Array(2) }, patches);
  const { dimension, patchCount } = model;
  await model.dispose();
  return Array.from({ length: patchCount }, (_, patch) =>
    patches.embeddings.slice(patch * dimension, (patch + 1) * dimension),
  );
}

function noise(count: number, seed: number): Uint8Array {
  const random = createRandom(seed);
  return Uint8Array.from({ length: count }, (_, at) => 60 + 40 * Math.sin(at / 9) + 90 * random());
}

const squaredDistance = (a: Float32Array, b: Float32Array): number =>
  a.reduce((sum, value, i) => sum + (value - b[i]!) ** 2, 0);

describe('preset hybrid', () => {
  for (const workingSize of [128, 160, 224, 256]) {
    it(`has both members on one grid at ${workingSize} pixels`, () => {
      const settings = settingsOf(workingSize);
      const { input, tiling } = findPreset('hybrid').plan({ workingSize });
      const { network } = joined(...members(settings), settings.learnedShare);
      const side = tiling.patchesPerSide;
      const channels = 2 * (8 * settings.levels + 2) + settings.learned.embedding;
      assert.deepEqual(inferShapes(network).get(network.output), { height: side, width: side, channels });
      assert.equal(network.inputSize, input.workingSize);
    });
  }

  it('calibrates on held-out normals: the learned member knows the others', () => {
    assert.equal(findPreset('hybrid').plan({}).calibration, 'heldOut');
  });

  it("measures the shares' mean of the members' squared distances, on both engines", async () => {
    const settings = settingsOf(128);
    const [fixed, learned] = members(settings);
    const both = joined(fixed, learned, settings.learnedShare);
    const pixels = noise(128 * 128, 5);
    const [onnx, wasm] = [await createOnnxEngine(), await createWasmEngine()];
    const [f, l, h] = [
      await embeddings(onnx, fixed, pixels),
      await embeddings(onnx, learned, pixels),
      await embeddings(onnx, both, pixels),
    ];
    const portable = await embeddings(wasm, both, pixels);
    assert.equal(h.length, 49);
    h.forEach((vector, patch) => {
      assert.ok(Math.abs(squaredDistance(vector, new Float32Array(vector.length)) - 1) < 1e-5);
      assert.ok(squaredDistance(vector, portable[patch]!) < 1e-7, `patch ${patch} differs between engines`);
      const expected = 0.7 * squaredDistance(f[patch]!, f[0]!) + 0.3 * squaredDistance(l[patch]!, l[0]!);
      assert.ok(Math.abs(squaredDistance(vector, h[0]!) - expected) < 1e-5);
    });
    await onnx.dispose();
    await wasm.dispose();
  });

  it('trains on the patches that it scores', () => {
    const { input, tiling } = findPreset('hybrid').plan({ workingSize: 128, align: false });
    const image = (seed: number) => {
      const working = new WorkingImage(
        geometryOf(input, tiling),
        { ...input, intensity: { kind: 'window' } },
        defaultPixelFormat(128, 128, 8, 8),
        0,
        'rows',
      );
      working.pushRows(noise(128 * 128, seed));
      working.complete();
      return working;
    };
    const images = [1, 2].map((seed) => ({ id: `${seed}`, patient: 'same', image: image(seed) }));
    const tiles = patchSource(images, 128, 32, 16);
    assert.deepEqual([tiles.count, tiles.gridSide, tiles.overlapCells], [98, 7, 2]);
    assert.deepEqual([tiles.imageOf[60], tiles.cellOf[60], tiles.patientOf[60]], [1, 11, 0]);
    const whole = new Uint8Array(128 * 128);
    images[1]!.image.cutTile(0, 0, whole);
    // Cell 11 lies in row 1, column 4: from pixel (16, 64) on.
    const cut = tiles.get(Int32Array.of(3, 60)) as Uint8Array;
    for (const [y, x] of [
      [0, 0],
      [31, 31],
      [5, 20],
    ] as const) {
      assert.equal(cut[1024 + y * 32 + x], whole[(16 + y) * 128 + 64 + x]);
    }
  });
});
