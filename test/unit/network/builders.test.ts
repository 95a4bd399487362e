import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import '@tensorflow/tfjs-backend-cpu';
import * as tf from '@tensorflow/tfjs-core';
import '@tensorflow/tfjs-layers';
import { afterEach, beforeEach, describe, it } from 'mocha';
import { ModelProto } from '../../../src/gen/onnx/onnx.js';
import { type NetworkDescription, networkSchema } from '../../../src/network/description.js';
import { foldBatchNorm } from '../../../src/network/fold-batch-norm.js';
import { buildOnnx } from '../../../src/network/onnx/build.js';
import { saladDecoder, saladEncoder } from '../../../src/network/salad-networks.js';
import { buildTfjs, tfjsParameters } from '../../../src/network/tfjs/build.js';
import { createRandom } from '../../../src/util/random.js';
import { type Plane, referenceForward } from '../../reference/network.js';
import { everyOperation, livelyWeights, randomTiles, smallSource } from '../../reference/small-model.js';

function largestDifference(a: ArrayLike<number>, b: ArrayLike<number>): number {
  assert.equal(a.length, b.length);
  return Array.from(a).reduce((most, value, index) => Math.max(most, Math.abs(value - b[index]!)), 0);
}

function randomPlane(side: number, channels: number, low: number, high: number, seed: number): Plane {
  const random = createRandom(seed);
  const data = Float64Array.from({ length: side * side * channels }, () =>
    Math.fround(low + (high - low) * random()),
  );
  return { height: side, width: side, channels, data };
}

function asTensor(plane: Plane): tf.Tensor4D {
  return tf.tensor4d(Float32Array.from(plane.data), [1, plane.height, plane.width, plane.channels]);
}

describe('folding batch norm', () => {
  it('keeps the function, removes a norm after a convolution, and keeps any other', () => {
    const network = everyOperation();
    const weights = livelyWeights(network, 51);
    const folded = foldBatchNorm(network, weights);
    assert.equal(folded.network.nodes.length, network.nodes.length - 2);
    assert.ok(folded.network.nodes.some(({ name }) => name === 'secondNorm'));
    for (const norm of ['firstNorm', 'depthNorm']) assert.ok(!folded.weights.has(`${norm}/gamma`));
    const tile = randomTiles(smallSource(51), 1, 1).pixels;
    const before = referenceForward(network, weights, tile).data;
    assert.ok(largestDifference(referenceForward(folded.network, folded.weights, tile).data, before) < 1e-6);
    assert.ok(weights.has('firstNorm/gamma'), 'the weights passed in were changed');
  });

  it('renames the output where the network ends with the norm', () => {
    const network = networkSchema.parse({
      inputSize: 4,
      nodes: [
        { op: 'conv', name: 'c', input: 'input', kernelSize: 1, inChannels: 1, outChannels: 2, bias: false },
        { op: 'batchNorm', name: 'n', input: 'c', channels: 2 },
      ],
      output: 'n',
    });
    const folded = foldBatchNorm(network, livelyWeights(network, 1));
    assert.equal(folded.network.output, 'c');
  });
});

describe('the ONNX bytes', () => {
  it('hold a model of opset 18 with named inputs and outputs and raw little-endian weights', () => {
    const model = ModelProto.decode(buildOnnx(smallSource(52)));
    assert.equal(model.opsetImport[0]!.version, 18n);
    const graph = model.graph!;
    assert.deepEqual(
      graph.input.map(({ name }) => name),
      ['tiles', 'cells'],
    );
    assert.deepEqual(
      graph.output.map(({ name }) => name),
      ['embeddings', 'similarities', 'indices'],
    );
    for (const tensor of graph.initializer) {
      const elements = tensor.dims.reduce((product, size) => product * Number(size), 1);
      const width = { 1: 4, 7: 8, 9: 1 }[tensor.dataType as 1 | 7 | 9];
      assert.equal(tensor.rawData?.length, elements * width, tensor.name);
    }
  });

  it('have no search where there is no bank, and no cells where all prototypes are searched', () => {
    const { search, ...encoder } = smallSource(53);
    const bare = ModelProto.decode(buildOnnx(encoder)).graph!;
    assert.deepEqual(
      bare.output.map(({ name }) => name),
      ['embeddings'],
    );
    const everywhere = { bank: search.bank, scoring: { ...search.scoring, searchRadius: null } };
    const graph = ModelProto.decode(buildOnnx({ ...encoder, search: everywhere })).graph!;
    assert.deepEqual(
      graph.input.map(({ name }) => name),
      ['tiles'],
    );
  });
});

describe('the tfjs network', () => {
  beforeEach(async () => {
    await tf.setBackend('cpu');
    tf.engine().startScope();
  });
  afterEach(() => tf.engine().endScope());

  function compare(network: NetworkDescription, input: Plane, seed: number): void {
    const weights = livelyWeights(network, seed);
    const { output } = buildTfjs(network, input.channels).forward(
      asTensor(input),
      tfjsParameters(weights),
      'inference',
    );
    assert.ok(largestDifference(output.dataSync(), referenceForward(network, weights, input).data) < 1e-5);
  }

  it('computes every operation as the float64 reference does', () => {
    for (const seed of [61, 62, 63]) compare(everyOperation(), randomPlane(24, 1, 0, 255, seed), seed);
  });

  it('computes encoder and decoder as the float64 reference does', () => {
    const options = { inputSize: 16, baseWidth: 4, downs: 2, embedding: 8, channels: 3 } as const;
    compare(saladEncoder(options), randomPlane(16, 1, 0, 255, 64), 64);
    compare(saladDecoder(options), randomPlane(1, 8, -1, 1, 65), 65);
  });

  it('resizes with aligned corners as the oracle of the SALAD spec', () => {
    const oracle = (
      JSON.parse(readFileSync(new URL('../../oracles/salad-oracles.json', import.meta.url), 'utf8')) as {
        upsample_align_corners_2x: { in: number[][]; out: number[][] };
      }
    ).upsample_align_corners_2x;
    const network: NetworkDescription = {
      inputSize: 2,
      nodes: [{ op: 'resizeBilinear', name: 'up', input: 'input', height: 4, width: 4, alignCorners: true }],
      output: 'up',
    };
    const { output } = buildTfjs(network).forward(
      tf.tensor4d(oracle.in.flat(), [1, 2, 2, 1]),
      {},
      'inference',
    );
    assert.ok(largestDifference(output.dataSync(), oracle.out.flat()) < 1e-4);
  });

  it('normalises by the batch in training and moves the statistics as PyTorch does', () => {
    const network: NetworkDescription = {
      inputSize: 1,
      nodes: [{ op: 'batchNorm', name: 'norm', input: 'input', channels: 1 }],
      output: 'norm',
    };
    const parameters = {
      'norm/gamma': tf.tensor1d([2]),
      'norm/beta': tf.tensor1d([1]),
      'norm/mean': tf.tensor1d([10]),
      'norm/variance': tf.tensor1d([3]),
    };
    const input = tf.tensor4d([1, 2, 3, 6], [4, 1, 1, 1]);
    const { output, movingStatistics } = buildTfjs(network).forward(input, parameters, 'training');
    // Mean 3, biased variance 3.5, unbiased 14/3.
    const expected = [1, 2, 3, 6].map((x) => (2 * (x - 3)) / Math.sqrt(3.5 + 1e-5) + 1);
    assert.ok(largestDifference(output.dataSync(), expected) < 1e-5);
    assert.ok(Math.abs(movingStatistics['norm/mean']!.dataSync()[0]! - (0.9 * 10 + 0.1 * 3)) < 1e-5);
    assert.ok(
      Math.abs(movingStatistics['norm/variance']!.dataSync()[0]! - (0.9 * 3 + 0.1 * (14 / 3))) < 1e-5,
    );
  });

  it('has the gradients of the float64 reference, input and every weight included', () => {
    const network = everyOperation();
    const weights = livelyWeights(network, 66);
    const input = randomPlane(24, 1, 0, 255, 67);
    const random = createRandom(68);
    const direction = Float64Array.from({ length: 72 }, () => random() - 0.5);
    const names = [...weights.keys()];
    const model = buildTfjs(network);
    const loss = (...tensors: tf.Tensor[]): tf.Scalar => {
      const parameters = Object.fromEntries(names.map((name, index) => [name, tensors[index + 1]!]));
      const { output } = model.forward(tensors[0] as tf.Tensor4D, parameters, 'inference');
      return tf.sum(tf.mul(tf.reshape(output, [-1]), tf.tensor1d(Float32Array.from(direction))));
    };
    const parameters = tfjsParameters(weights);
    const gradients = tf.grads(loss)([asTensor(input), ...names.map((name) => parameters[name]!)]);
    const reference = (): number =>
      referenceForward(network, weights, input).data.reduce(
        (sum, value, index) => sum + value * direction[index]!,
        0,
      );
    // Checks the largest gradient, which is not near zero.
    const check = (
      name: string,
      values: Float32Array | Float64Array,
      gradient: tf.Tensor,
      step: number,
    ): void => {
      const actual = gradient.dataSync();
      let index = 0;
      actual.forEach((value, each) => {
        if (Math.abs(value) > Math.abs(actual[index]!)) index = each;
      });
      const kept = values[index]!;
      const at = (value: number): { value: number; loss: number } => {
        values[index] = value;
        return { value: values[index]!, loss: reference() };
      };
      const up = at(kept + step);
      const down = at(kept - step);
      values[index] = kept;
      const expected = (up.loss - down.loss) / (up.value - down.value);
      const error = Math.abs(actual[index]! - expected);
      assert.ok(
        error < 2e-3 * Math.abs(expected),
        `${name}[${index}]: ${actual[index]}, reference ${expected}`,
      );
    };
    check('input', input.data, gradients[0]!, 1e-3);
    names.forEach((name, index) => {
      check(name, weights.get(name)!.data, gradients[index + 1]!, 1e-4);
    });
  });

  it('includes the mirrored border in the gradient', () => {
    const network: NetworkDescription = {
      inputSize: 3,
      nodes: [{ op: 'reflectPad', name: 'padded', input: 'input', size: 2 }],
      output: 'padded',
    };
    const sum = (x: tf.Tensor): tf.Scalar =>
      tf.sum(buildTfjs(network).forward(x as tf.Tensor4D, {}, 'inference').output);
    const gradient = tf
      .grad(sum)(tf.ones([1, 3, 3, 1]))
      .dataSync();
    // Along one axis of 3 padded by 2 (c b a b c b a), the samples appear 2, 3 and 2 times.
    assert.deepEqual([...gradient], [4, 6, 4, 6, 9, 6, 4, 6, 4]);
  });
});
