import assert from 'node:assert/strict';
import fc from 'fast-check';
import { describe, it } from 'mocha';
import { jainIndex, Latencies, poissonGaps } from '../../../../clients/load/src/statistics.js';

describe('Latencies', () => {
  it('gives exact nearest-rank percentiles', () => {
    const latencies = new Latencies();
    for (let ms = 10_000; ms >= 1; ms--) latencies.add(ms);
    assert.deepEqual(latencies.summary(), {
      count: 10_000,
      p50Ms: 5000,
      p90Ms: 9000,
      p99Ms: 9900,
      p999Ms: 9990,
      maxMs: 10_000,
    });
  });

  it('gives NaN without values', () => {
    assert.ok(Number.isNaN(new Latencies().summary().p99Ms));
  });
});

describe('jainIndex', () => {
  it('is 1 for equal shares and 1/n if one share is not zero', () => {
    assert.equal(jainIndex([3, 3, 3]), 1);
    assert.equal(jainIndex([5, 0, 0, 0, 0]), 0.2);
  });

  it('lies between 1/n and 1', () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 0, max: 1000 }), { minLength: 1 }), (shares) => {
        const index = jainIndex(shares);
        if (Number.isNaN(index)) return shares.every((share) => share === 0);
        return index >= 1 / shares.length - 1e-12 && index <= 1 + 1e-12;
      }),
    );
  });
});

describe('poissonGaps', () => {
  it('has the given rate and repeats for a seed', () => {
    const first = poissonGaps(50, 7);
    const second = poissonGaps(50, 7);
    let sum = 0;
    for (let i = 0; i < 20_000; i++) {
      const gap = first();
      assert.equal(gap, second());
      sum += gap;
    }
    assert.ok(Math.abs(sum / 20_000 - 20) < 0.5, `mean gap ${sum / 20_000} ms`);
  });
});
