import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { ScoreDrift } from '../../../src/telemetry/score-drift.js';
import { createRandom } from '../../../src/util/random.js';

describe('ScoreDrift', () => {
  it('does not warn while p-values are uniform, also in steps of 1/60', () => {
    for (const steps of [Number.POSITIVE_INFINITY, 60]) {
      const drift = new ScoreDrift();
      const uniform = createRandom(3);
      let warnings = 0;
      for (let image = 0; image < 3000; image++) {
        const value = uniform();
        if (drift.add(Number.isFinite(steps) ? Math.ceil(value * steps) / steps : value)) warnings++;
      }
      assert.equal(warnings, 0);
      assert.ok(drift.distance < 0.08, String(drift.distance));
    }
  });

  it('warns once when small p-values become frequent, and again after a time without drift', () => {
    const drift = new ScoreDrift();
    const uniform = createRandom(4);
    const warnings = { first: 0, quiet: 0, second: 0 };
    for (let image = 0; image < 300; image++) if (drift.add(uniform() ** 3)) warnings.first++;
    // The distance of 300 values is scaled by sqrt(300 / 500).
    assert.ok(drift.distance > 0.3 * Math.sqrt(3 / 5), String(drift.distance));
    for (let image = 0; image < 600; image++) if (drift.add(uniform())) warnings.quiet++;
    for (let image = 0; image < 400; image++) if (drift.add(uniform() ** 3)) warnings.second++;
    assert.deepEqual(warnings, { first: 1, quiet: 0, second: 1 });
  });

  it('exceeds the threshold by chance as rarely with 100 values as with 500', () => {
    const uniform = createRandom(5);
    const above = (count: number) => {
      let exceeded = 0;
      for (let trial = 0; trial < 300; trial++) {
        const drift = new ScoreDrift();
        for (let image = 0; image < count; image++) drift.add(uniform());
        if (drift.distance > 0.1) exceeded++;
      }
      return exceeded;
    };
    assert.ok(above(100) <= 1);
    assert.ok(above(500) <= 1);
  });

  it('measures the distance of equal p-values at every value', () => {
    for (const value of [0.02, 0.5, 0.98]) {
      const drift = new ScoreDrift();
      for (let image = 0; image < 500; image++) drift.add(value);
      assert.ok(Math.abs(drift.distance - Math.max(value, 1 - value)) < 1e-9);
    }
  });

  it('has no distance and no warning below 100 images', () => {
    const drift = new ScoreDrift();
    assert.equal(drift.distance, 0);
    for (let image = 0; image < 99; image++) assert.equal(drift.add(0.001), false);
    assert.equal(drift.distance, 0);
    assert.equal(drift.add(0.001), true);
  });
});
