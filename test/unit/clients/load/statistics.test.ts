import assert from 'node:assert/strict';
import fc from 'fast-check';
import { describe, it } from 'mocha';
import { jainIndex, Latencies, poissonGaps } from '../../../../clients/load/src/statistics.js';

/** HDR histograms with three significant digits: at most 0.1 % too high. */
function assertClose(actual: number, expected: number): void {
  assert.ok(actual >= expected && actual <= expected * 1.001 + 0.001, `${actual} is not about ${expected}`);
}

describe('Latencies', () => {
  it('gives percentiles that are at most 0.1 % too high, and the exact maximum', () => {
    const latencies = new Latencies();
    for (let ms = 10_000; ms >= 1; ms--) latencies.add(ms);
    const { count, p50Ms, p90Ms, p99Ms, p999Ms, maxMs, meanMs } = latencies.summary();
    assert.deepEqual([count, maxMs], [10_000, 10_000]);
    assertClose(p50Ms, 5000);
    assertClose(p90Ms, 9000);
    assertClose(p99Ms, 9900);
    assertClose(p999Ms, 9990);
    assert.ok(Math.abs(meanMs - 5000.5) < 5, `${meanMs}`);
  });

  it('resolves fractions of a millisecond, and holds a day', () => {
    const latencies = new Latencies();
    latencies.add(0.25);
    latencies.add(86_400_000);
    assert.equal(latencies.summary().p50Ms, 0.25);
    assertClose(latencies.summary().maxMs, 86_400_000);
  });

  it('gives NaN without values', () => {
    assert.ok(Number.isNaN(new Latencies().summary().p99Ms));
    assert.ok(Number.isNaN(new Latencies().summary().meanMs));
  });

  it('adds up to the histogram of all, also after writing and reading', () => {
    fc.assert(
      fc.property(fc.array(fc.double({ min: 0, max: 1e6, noNaN: true })), fc.nat(), (values, at) => {
        const [all, one, two] = [new Latencies(), new Latencies(), new Latencies()];
        for (const value of values) all.add(value);
        for (const value of values.slice(0, at % (values.length + 1))) one.add(value);
        for (const value of values.slice(at % (values.length + 1))) two.add(value);
        const sum = Latencies.decode(one.encode());
        sum.merge(Latencies.decode(two.encode()));
        assert.deepEqual([...sum.values()], [...all.values()]);
        assert.equal(sum.count, values.length);
      }),
      { numRuns: 30 },
    );
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
