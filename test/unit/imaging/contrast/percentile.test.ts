import assert from 'node:assert/strict';
import fc from 'fast-check';
import { describe, it } from 'mocha';
import { percentilesOf } from '../../../../src/imaging/contrast/percentile.js';

describe('percentilesOf', () => {
  it("returns numpy's values", () => {
    // numpy.percentile([1, 2, 4, 8], [0, 25, 50, 90, 100])
    const close = percentilesOf(Float32Array.of(8, 1, 4, 2), [0, 25, 50, 90, 100]);
    for (const [i, expected] of [1, 1.75, 3, 6.8, 8].entries()) {
      assert.ok(Math.abs(close[i]! - expected) < 1e-12);
    }
  });

  it('agrees with sorting for any values, including ties', () => {
    fc.assert(
      fc.property(
        fc.array(fc.integer({ min: 0, max: 20 }), { minLength: 1, maxLength: 80 }),
        fc.double({ min: 0, max: 100, noNaN: true }),
        (values, percentile) => {
          const sorted = [...values].sort((a, b) => a - b);
          const at = (percentile / 100) * (sorted.length - 1);
          const low = sorted[Math.floor(at)]!;
          const expected = low + (sorted[Math.ceil(at)]! - low) * (at - Math.floor(at));
          const [actual] = percentilesOf(Float32Array.from(values), [percentile]);
          assert.ok(Math.abs(actual! - expected) < 1e-9);
        },
      ),
      { seed: 3, numRuns: 500 },
    );
  });

  it('is NaN without values', () => {
    assert.ok(Number.isNaN(percentilesOf(new Float32Array(0), [50])[0]));
  });
});
