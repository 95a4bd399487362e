import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { AcquisitionBudget } from '../../../src/acquisition/budget.js';
import { decide } from '../../../src/acquisition/final-aggregate.js';
import { Latch } from '../../../src/util/latch.js';

describe('decide', () => {
  const coverage = (scored: number, failed = 0, missing = 0) => ({ scored, failed, missing });

  it('decides normal only where every patch is covered', () => {
    assert.equal(decide(1, 2, coverage(64)), 'normal');
    assert.equal(decide(2, 2, coverage(64)), 'normal');
    assert.equal(decide(1, 2, coverage(63, 1)), 'indeterminate');
    assert.equal(decide(1, 2, coverage(63, 0, 1)), 'indeterminate');
    assert.equal(decide(Number.NaN, 2, coverage(0)), 'indeterminate');
    assert.equal(decide(Number.NaN, 2, coverage(4)), 'indeterminate');
  });

  it('decides anomalous above the threshold, with complete or incomplete coverage', () => {
    assert.equal(decide(2.1, 2, coverage(64)), 'anomalous');
    assert.equal(decide(2.1, 2, coverage(4, 10, 50)), 'anomalous');
  });
});

describe('AcquisitionBudget', () => {
  const limits = { maxAcquisitions: 2, maxBytes: 100, retryAfterMs: 5, peerShareRatio: 0 };

  it('limits count and bytes, and releases both once', () => {
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
  it('ends one wait after any number of opens before it, and the next wait only after another open', async () => {
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
