import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { createRateWarner, unreachableRate } from '../../../../src/cli/commands/score-warnings.js';
import { Model } from '../../../../src/gen/salad/v1/model_registry.js';
import { AcquisitionAggregate } from '../../../../src/gen/salad/v1/types.js';
import { roundedUp } from '../../../../src/scoring/calibration.js';

/** Collects what is written to stderr while `work` runs. */
function stderrOf(work: () => void): string {
  const write = process.stderr.write;
  let text = '';
  process.stderr.write = ((chunk: string | Uint8Array) => {
    text += String(chunk);
    return true;
  }) as typeof write;
  try {
    work();
  } finally {
    process.stderr.write = write;
  }
  return text;
}

const aggregateAt = (maxFalsePositiveRate: number) =>
  AcquisitionAggregate.fromPartial({ maxFalsePositiveRate });

describe('warnings of salad score about the false-positive rate', () => {
  it('are added to every image decided above 5 % without a requested rate, and printed once', () => {
    const addWarning = createRateWarner(undefined);
    const stderr = stderrOf(() => {
      for (let image = 0; image < 2; image++) {
        const { warnings } = addWarning(aggregateAt(0.1));
        assert.match(warnings[0]?.message ?? '', /decided at a false-positive rate of 10 %/);
      }
    });
    assert.equal(stderr.match(/salad: warning: decided at/g)?.length, 1);
  });

  it('are not added at 5 %, nor at a requested rate', () => {
    const stderr = stderrOf(() => {
      assert.deepEqual(createRateWarner(undefined)(aggregateAt(0.05)).warnings, []);
      assert.deepEqual(createRateWarner(0.1)(aggregateAt(0.1)).warnings, []);
    });
    assert.equal(stderr, '');
  });

  it('name a requested rate that the calibration cannot promise', () => {
    const model = Model.fromPartial({ calibration: { count: 99, minFalsePositiveRate: 1 / 100 } });
    assert.match(unreachableRate(model, 0.001) ?? '', /0\.001: .*99 calibration images allow 0\.01 at/);
    assert.equal(unreachableRate(model, 0.01), undefined);
    assert.equal(unreachableRate(Model.fromPartial({}), 0.001), undefined);
    for (let count = 1; count < 3000; count++) {
      const shown = roundedUp(1 / (count + 1));
      assert.ok(String(shown).length <= 7 && shown >= (1 / (count + 1)) * (1 - 1e-9), `${count}: ${shown}`);
    }
  });
});
