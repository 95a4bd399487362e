import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { implausibility, plausibilityDistances, regionMeans } from '../../../src/scoring/plausibility.js';

describe('plausibility', () => {
  it('describes an image by the mean embeddings of nearly equal regions', () => {
    // 3 x 3 cells with two numbers each, in 2 x 2 regions: rows and columns 0 and 1 are the first, 2 the second.
    const embeddings = Float32Array.from({ length: 18 }, (_, at) => (at % 2 === 0 ? at / 2 : 10));
    const close = (found: Float64Array, expected: readonly number[]): void => {
      assert.equal(found.length, expected.length);
      expected.forEach((value, axis) => {
        assert.ok(Math.abs(found[axis]! - value) < 1e-12, `${axis}: ${found[axis]}`);
      });
    };
    close(regionMeans(embeddings, 3, 2), [2, 10, 3.5, 10, 6.5, 10, 8, 10]);
    close(regionMeans(embeddings, 3, 1), [4, 10]);
  });

  const tensors = {
    mean: Float32Array.of(1, 1, 1),
    scale: Float32Array.of(1, 0.5, 2),
    components: Float32Array.of(1, 0, 0),
    variances: Float32Array.of(4),
    mirror: Float32Array.of(0, 1, 0),
  };
  const distancesOf = (...features: number[]) =>
    plausibilityDistances(tensors, { noise: 2, mirrorOffset: -1 }, Float64Array.from(features));

  it('measures distances within and outside of the principal directions, and whether an image is mirrored', () => {
    // Standardised: 6, 2, 4.
    assert.deepEqual(distancesOf(7, 5, 3), { within: 3, outside: Math.sqrt(20 / 4), mirror: 1 });
    assert.deepEqual(distancesOf(1, 1, 1), { within: 0, outside: 0, mirror: -1 });
  });

  it('finds an image implausible beyond any one limit', () => {
    const limits = { within: 2, outside: 3, mirror: -0.75 };
    const judge = (within: number, outside: number, mirror: number) =>
      implausibility(limits, { within, outside, mirror });
    assert.equal(judge(2, 3, -0.75), undefined);
    assert.equal(judge(2.01, 0, 1), 'unlike');
    assert.equal(judge(0, 3.01, 1), 'unlike');
    assert.equal(judge(0, 0, -0.76), 'mirrored');
  });
});
