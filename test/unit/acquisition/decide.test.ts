import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { decide } from '../../../src/acquisition/aggregate.js';
import { AcquisitionBudget } from '../../../src/acquisition/budget.js';
import { Latch } from '../../../src/util/latch.js';

describe('decide', () => {
  const coverage = (scored: number, failed = 0, missing = 0) => ({ scored, failed, missing });

  it('says normal only of what was looked at completely', () => {
    assert.equal(decide(1, 2, coverage(64)), 'normal');
    assert.equal(decide(2, 2, coverage(64)), 'normal');
    assert.equal(decide(1, 2, coverage(63, 1)), 'indeterminate');
    assert.equal(decide(1, 2, coverage(63, 0, 1)), 'indeterminate');
    assert.equal(decide(Number.NaN, 2, coverage(0)), 'indeterminate');
    assert.equal(decide(Number.NaN, 2, coverage(4)), 'indeterminate');
  });

  it('says anomalous of whatever is above the threshold, complete or not', () => {
    assert.equal(decide(2.1, 2, coverage(64)), 'anomalous');
    assert.equal(decide(2.1, 2, coverage(4, 10, 50)), 'anomalous');
  });
});

describe('AcquisitionBudget', () => {
  const limits = { maxAcquisitions: 2, maxBytes: 100, retryAfterMs: 5, peerShareRatio: 0 };

  it('bounds count and bytes, and gives room back once', () => {
    const budget = new AcquisitionBudget(limits);
    const first = budget.admit('a', 60);
    assert.throws(() => budget.admit('a', 41), { reason: 'OVERLOADED', retryAfterMs: 5 });
    assert.deepEqual([budget.open, budget.bytes], [1, 60]);
    const second = budget.admit('a', 15);
    assert.throws(() => budget.admit('a', 0), { reason: 'OVERLOADED' });
    assert.throws(() => budget.refuseWhenFull(), { reason: 'OVERLOADED' });
    first();
    first();
    assert.deepEqual([budget.open, budget.bytes], [1, 15]);
    second();
    assert.deepEqual([budget.open, budget.bytes], [0, 0]);
  });
});

describe('Latch', () => {
  it('lets one wait through for any number of opens before it, and the next only after another', async () => {
    const latch = new Latch();
    latch.open();
    latch.open();
    await latch.wait();
    let passed = false;
    const second = latch.wait().then(() => {
      passed = true;
    });
    await Promise.resolve();
    assert.equal(passed, false);
    latch.open();
    await second;
  });
});
