import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { checkWeights, inferShapes } from '../../../../../src/network/shapes.js';
import {
  gaborStreamNetwork,
  STREAM_GABOR,
} from '../../../../../src/training/encoders/gabor/stream-network.js';

describe('gabor-stream network', () => {
  it('has 2x2 patches from 80 pixels, gain-invariant or not', () => {
    for (const gainInvariant of [false, true]) {
      const { network, weights, dimension } = gaborStreamNetwork({ ...STREAM_GABOR, gainInvariant });
      assert.equal(network.inputSize, 80);
      assert.deepEqual(inferShapes(network).get(network.output), {
        height: 2,
        width: 2,
        channels: dimension,
      });
      checkWeights(network, weights);
    }
  });

  it('accepts other patch sizes and tile widths', () => {
    const { network, dimension } = gaborStreamNetwork({ ...STREAM_GABOR, window: 4, coresPerTile: 3 });
    assert.equal(network.inputWidth, 144);
    assert.deepEqual(inferShapes(network).get(network.output), { height: 2, width: 6, channels: dimension });
  });
});
