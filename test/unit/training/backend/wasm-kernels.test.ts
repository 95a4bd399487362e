import assert from 'node:assert/strict';
import '@tensorflow/tfjs-backend-cpu';
import * as tf from '@tensorflow/tfjs-core';
import * as fc from 'fast-check';
import { after, before, describe, it } from 'mocha';
import type { NetworkDescription } from '../../../../src/network/description.js';
import { initialiseWeights } from '../../../../src/network/initialise.js';
import { buildTfjs, tfjsParameters } from '../../../../src/network/tfjs/build.js';
import { prepareTrainingBackend } from '../../../../src/training/backend/prepare.js';
import { randomStream } from '../../../../src/training/encoders/salad/random-streams.js';

type Shape = [number, number, number, number];

function noise(shape: number[], seed: number): Float32Array {
  const random = randomStream(seed, 99);
  return Float32Array.from({ length: shape.reduce((a, b) => a * b, 1) }, () => random.normal());
}

/** Runs `run` on a backend and returns the values of its tensors. */
async function runOn(backend: 'cpu' | 'wasm', run: () => tf.Tensor[]): Promise<Float32Array[]> {
  await tf.setBackend(backend);
  return tf.tidy(() => run().map((tensor) => Float32Array.from(tensor.dataSync())));
}

async function assertEqualOnBoth(run: () => tf.Tensor[], tolerance = 2e-4): Promise<void> {
  const expected = await runOn('cpu', run);
  const actual = await runOn('wasm', run);
  expected.forEach((values, tensor) => {
    assert.equal(actual[tensor]!.length, values.length);
    const scale = Math.max(1, ...values.map(Math.abs));
    values.forEach((value, i) => {
      assert.ok(
        Math.abs(value - actual[tensor]![i]!) <= tolerance * scale,
        `tensor ${tensor} [${i}]: ${actual[tensor]![i]} is not ${value}`,
      );
    });
  });
}

describe('wasm training kernels', () => {
  before(async () => {
    await prepareTrainingBackend('cpu');
    const { name } = await prepareTrainingBackend('wasm');
    assert.equal(name, 'wasm');
  });
  after(async () => {
    await tf.setBackend('cpu');
  });

  it('select TensorFlow where it loads, and state the reason where they fall back to wasm', async () => {
    const backend = await prepareTrainingBackend('tensorflow');
    assert.equal(tf.getBackend(), backend.name);
    if (backend.name === 'wasm') assert.match(backend.fallbackReason ?? '', /tfjs-node/);
    else assert.equal(backend.fallbackReason, undefined);
    assert.equal((await prepareTrainingBackend('auto')).name, backend.name);
    assert.equal((await prepareTrainingBackend('wasm')).fallbackReason, undefined);
  });

  const shapes = fc.record({
    batch: fc.integer({ min: 1, max: 4 }),
    size: fc.integer({ min: 4, max: 9 }),
    from: fc.integer({ min: 1, max: 5 }),
    to: fc.integer({ min: 1, max: 5 }),
    kernel: fc.constantFrom(1, 3, 4),
    stride: fc.constantFrom(1, 1, 1, 2),
    pad: fc.constantFrom<0 | 1 | 'same'>(0, 1, 'same'),
    seed: fc.integer({ min: 1, max: 1e6 }),
  });

  it('give the same convolution gradients as the cpu backend on random shapes', async () => {
    await fc.assert(
      fc.asyncProperty(shapes, async ({ batch, size, from, to, kernel, stride, pad, seed }) => {
        fc.pre(!(kernel === 1 && pad === 1));
        const x: Shape = [batch, size, size, from];
        const filter: Shape = [kernel, kernel, from, to];
        await assertEqualOnBoth(() => {
          const weights = tf.tensor4d(noise(filter, seed), filter);
          const input = tf.tensor4d(noise(x, seed + 1), x);
          const y = tf.conv2d(input, weights, stride, pad);
          const dy = tf.tensor4d(noise(y.shape, seed + 2), y.shape);
          return tf.grads((i, w) => tf.conv2d(i as tf.Tensor4D, w as tf.Tensor4D, stride, pad))(
            [input, weights],
            dy,
          );
        });
      }),
      { numRuns: 40, seed: 11 },
    );
  });

  it('give the same gradients of transposed convolution, pooling, resizing and leaky ReLU', async () => {
    const x: Shape = [2, 4, 4, 3];
    const operations: ((input: tf.Tensor4D) => tf.Tensor)[] = [
      (input) => tf.maxPool(input, 2, 2, 0),
      (input) => tf.maxPool(input, 3, 3, 0),
      (input) => tf.avgPool(input, 2, 2, 0),
      (input) => tf.avgPool(input, 3, 2, 1),
      (input) => tf.image.resizeBilinear(input, [8, 8], true),
      (input) => tf.image.resizeBilinear(input, [7, 8], false, true),
      (input) => tf.leakyRelu(input, 0.1),
      (input) => tf.tanh(input),
      (input) =>
        tf.conv2dTranspose(
          input,
          tf.tensor4d(noise([4, 4, 2, 3], 5), [4, 4, 2, 3]),
          [2, 7, 7, 2],
          1,
          'valid',
        ),
    ];
    for (const operation of operations) {
      await assertEqualOnBoth(() => {
        const input = tf.tensor4d(noise(x, 3), x);
        const y = operation(input);
        return [tf.grad((i) => operation(i as tf.Tensor4D))(input, tf.tensor(noise(y.shape, 4), y.shape))];
      });
    }
  });

  it('divide the gradient of a max-pool window among equal maxima', async () => {
    const gradient = await runOn('wasm', () => [
      tf.grad((i) => tf.maxPool(i as tf.Tensor4D, 2, 2, 0))(tf.tensor4d([-1, -1, -3, -2], [1, 2, 2, 1])),
    ]);
    assert.deepEqual(Array.from(gradient[0]!), [0.5, 0.5, 0, 0]);
  });

  it('leave no tensors in memory', async () => {
    await tf.setBackend('wasm');
    const x = tf.tensor4d(noise([2, 6, 6, 3], 1), [2, 6, 6, 3]);
    const w = tf.tensor4d(noise([3, 3, 3, 4], 2), [3, 3, 3, 4]);
    const before = tf.memory().numTensors;
    tf.tidy(() => {
      tf.grads((i, f) => tf.maxPool(tf.conv2d(i as tf.Tensor4D, f as tf.Tensor4D, 1, 1), 2, 2, 0))([x, w]);
    });
    assert.equal(tf.memory().numTensors, before);
    tf.dispose([x, w]);
  });

  it('agree with finite differences through a smooth network in training mode', async () => {
    const network: NetworkDescription = {
      inputSize: 8,
      output: 'embedding',
      nodes: [
        { op: 'affine', name: 'normalised', input: 'input', scale: 2 / 255, shift: -1 },
        conv('a', 'normalised', 3, 1, 1, 4),
        { op: 'batchNorm', name: 'norm', input: 'a', channels: 4 },
        { op: 'tanh', name: 'soft', input: 'norm' },
        { op: 'avgPool', name: 'pool', input: 'soft', size: 2, stride: 2, padding: 0 },
        conv('b', 'pool', 4, 0, 4, 5),
        { op: 'l2Normalize', name: 'embedding', input: 'b' },
      ],
    };
    await tf.setBackend('wasm');
    const built = buildTfjs(network);
    const weights = initialiseWeights(network, 3);
    const random = randomStream(8);
    const input = Float32Array.from({ length: 4 * 64 }, () => random.between(0, 255));
    const direction = noise([4, 1, 1, 5], 21);
    const lossWith = (name: string, kernel: tf.Tensor): tf.Scalar => {
      const parameters = { ...tfjsParameters(weights), [name]: kernel };
      const { output } = built.forward(tf.tensor4d(input, [4, 8, 8, 1]), parameters, 'training');
      return tf.sum(tf.mul(output, tf.tensor4d(direction, [4, 1, 1, 5])));
    };
    for (const name of ['a/kernel', 'b/kernel', 'norm/gamma', 'norm/beta']) {
      const { shape, data } = weights.get(name)!;
      const gradient = tf.tidy(() =>
        tf
          .grad((kernel) => lossWith(name, kernel))(tf.tensor(data, [...shape]))
          .dataSync(),
      );
      for (const index of [0, data.length >> 1, data.length - 1]) {
        const at = (step: number): number =>
          tf.tidy(() => {
            const moved = data.slice();
            moved[index]! += step;
            return lossWith(name, tf.tensor(moved, [...shape])).dataSync()[0]!;
          });
        const numeric = (at(1e-2) - at(-1e-2)) / 2e-2;
        assert.ok(
          Math.abs(numeric - gradient[index]!) < 3e-3 * Math.max(1, Math.abs(numeric)),
          `${name}[${index}]: ${gradient[index]} against ${numeric}`,
        );
      }
    }
  });
});

function conv(name: string, input: string, kernelSize: number, padding: number, from: number, to: number) {
  return {
    op: 'conv' as const,
    name,
    input,
    kernelSize,
    padding,
    stride: 1,
    inChannels: from,
    outChannels: to,
    bias: false,
    trainable: true,
  };
}
