import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { checkWeights, inferShapes } from '../../../../../src/network/shapes.js';
import {
  gaborKernels,
  gaborNetwork,
  RECIPE_GABOR,
  RECIPE_KERNELS,
} from '../../../../../src/training/encoders/gabor/network.js';

describe('gabor network', () => {
  it('has kernels with zero mean and unit norm, so that constant regions give zero', () => {
    const { shape, data } = gaborKernels(RECIPE_KERNELS);
    assert.deepEqual(shape, [11, 11, 1, 16]);
    for (let channel = 0; channel < 16; channel += 1) {
      const kernel = Array.from({ length: 121 }, (_, i) => data[i * 16 + channel]!);
      assert.ok(Math.abs(kernel.reduce((sum, value) => sum + value, 0)) < 1e-5);
      assert.ok(Math.abs(kernel.reduce((sum, value) => sum + value * value, 0) - 1) < 1e-5);
    }
  });

  it('has 6x6 patches of 84 numbers at 224 pixels, as in the recipe', () => {
    const { network, weights, dimension } = gaborNetwork({ ...RECIPE_GABOR, workingSize: 224, levels: 5 });
    const shapes = inferShapes(network);
    assert.equal(dimension, 84);
    assert.deepEqual(shapes.get('map'), { height: 28, width: 28, channels: 42 });
    assert.deepEqual(shapes.get(network.output), { height: 6, width: 6, channels: 84 });
    checkWeights(network, weights);
  });
});
