import assert from 'node:assert/strict';
import '@tensorflow/tfjs-backend-cpu';
import * as tf from '@tensorflow/tfjs-core';
import { before, describe, it } from 'mocha';
import { Adam } from '../../../../../src/training/encoders/salad/adam.js';

describe('Adam', () => {
  before(async () => {
    await tf.setBackend('cpu');
  });

  it('updates as PyTorch does, with weight decay added to the gradient', () => {
    const options = { weightDecay: 0.1 };
    const adam = new Adam(options);
    let value: tf.Tensor = tf.tensor1d([1, -2]);
    const host = { p: [1, -2], m: [0, 0], v: [0, 0] };
    for (let t = 1; t <= 5; t++) {
      const gradient = [0.3 * t, -0.2 / t];
      adam.beginStep();
      value = adam.update('w', value, tf.tensor1d(gradient), 0.01);
      for (const i of [0, 1]) {
        const g = gradient[i]! + 0.1 * host.p[i]!;
        host.m[i] = 0.9 * host.m[i]! + 0.1 * g;
        host.v[i] = 0.999 * host.v[i]! + 0.001 * g * g;
        const mHat = host.m[i]! / (1 - 0.9 ** t);
        const vHat = host.v[i]! / (1 - 0.999 ** t);
        host.p[i]! -= (0.01 * mHat) / (Math.sqrt(vHat) + 1e-8);
      }
    }
    value.dataSync().forEach((found, i) => {
      assert.ok(Math.abs(found - host.p[i]!) < 1e-6, `${found} is not ${host.p[i]}`);
    });
  });
});
