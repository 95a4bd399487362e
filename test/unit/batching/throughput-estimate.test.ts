import assert from 'node:assert/strict';
import fc from 'fast-check';
import { describe, it } from 'mocha';
import { ThroughputEstimate } from '../../../src/batching/throughput-estimate.js';

describe('ThroughputEstimate', () => {
  it('is unknown until two batches followed each other', () => {
    const pace = new ThroughputEstimate();
    assert.equal(pace.msPerTile, 0);
    pace.finished(4, 100);
    assert.equal(pace.msPerTile, 0);
  });

  it('measures a steady throughput for any batch sizes', () => {
    fc.assert(
      fc.property(
        fc.array(fc.integer({ min: 1, max: 32 }), { minLength: 2, maxLength: 100 }),
        fc.double({ min: 0.1, max: 50, noNaN: true }),
        (batches, msPerTile) => {
          const pace = new ThroughputEstimate();
          let now = 0;
          for (const tiles of batches) {
            now += tiles * msPerTile;
            pace.finished(tiles, now);
          }
          assert.ok(Math.abs(pace.msPerTile - msPerTile) < 1e-6 * msPerTile);
        },
      ),
    );
  });

  it('counts a pause before one tile once, not as the time of every tile', () => {
    const pace = new ThroughputEstimate();
    let now = 0;
    for (let batch = 0; batch < 40; batch++) {
      now += 8;
      pace.finished(8, now);
    }
    pace.finished(1, now + 100);
    assert.ok(pace.msPerTile < 1.6, `${pace.msPerTile}`);
  });

  it('excludes idle time', () => {
    const pace = new ThroughputEstimate();
    pace.finished(4, 0);
    pace.finished(4, 8);
    pace.idle();
    pace.finished(4, 10_000);
    pace.finished(4, 10_008);
    assert.equal(pace.msPerTile, 2);
  });
});
