import assert from 'node:assert/strict';
import { describe, it } from 'mocha';

import { createRandom } from '../../../src/scoring/random.js';
import { ScoreDrift } from '../../../src/telemetry/score-drift.js';

describe('ScoreDrift', () => {
  it('is quiet while p-values are uniform, also those in steps of 1/60', () => {
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

  it('warns once when small p-values gather, and again after it was quiet between', () => {
    const drift = new ScoreDrift();
    const uniform = createRandom(4);
    const warnings = { first: 0, quiet: 0, second: 0 };
    for (let image = 0; image < 300; image++) if (drift.add(uniform() ** 3)) warnings.first++;
    assert.ok(drift.distance > 0.3);
    for (let image = 0; image < 600; image++) if (drift.add(uniform())) warnings.quiet++;
    for (let image = 0; image < 400; image++) if (drift.add(uniform() ** 3)) warnings.second++;
    assert.deepEqual(warnings, { first: 1, quiet: 0, second: 1 });
  });

  it('says nothing of a few images', () => {
    const drift = new ScoreDrift();
    assert.equal(drift.distance, 0);
    for (let image = 0; image < 99; image++) assert.equal(drift.add(0.001), false);
    assert.equal(drift.add(0.001), true);
  });
});
