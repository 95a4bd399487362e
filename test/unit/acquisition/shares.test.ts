import assert from 'node:assert/strict';
import fc from 'fast-check';
import { describe, it } from 'mocha';
import { AcquisitionBudget } from '../../../src/acquisition/budget.js';
import { Shares } from '../../../src/acquisition/shares.js';

/** Acquires one unit after another until the first refusal. @returns the number of units */
function acquireAll(shares: Shares, peer: string): number {
  let count = 0;
  while (shares.acquire(peer, 1)) count += 1;
  return count;
}

describe('Shares', () => {
  it('grants n peers 1 / (n + 1) each, so that one more peer can acquire', () => {
    for (const peers of [1, 2, 3, 7]) {
      const shares = new Shares(1000, 1);
      // In turns, as peers that arrive at the same time.
      for (let acquired = true; acquired; ) {
        acquired = false;
        for (let peer = 0; peer < peers; peer++) acquired = shares.acquire(`p${peer}`, 1) || acquired;
      }
      for (let peer = 0; peer < peers; peer++) {
        const held = shares.held(`p${peer}`);
        assert.ok(Math.abs(held - 1000 / (peers + 1)) <= 2, `${held} of 1000 for one of ${peers}`);
      }
      assert.ok(shares.acquire('new', 1));
    }
  });

  it('grants one peer more at a higher ratio, and everything at ratio 0', () => {
    assert.equal(acquireAll(new Shares(100, 3), 'a'), 76);
    assert.equal(acquireAll(new Shares(100, 0), 'a'), 100);
  });

  it('grants one peer all units where there are only one or two', () => {
    assert.deepEqual([acquireAll(new Shares(1, 1), 'a'), acquireAll(new Shares(2, 1), 'a')], [1, 2]);
  });

  it('grants an amount above the share to a peer that holds nothing', () => {
    const shares = new Shares(100, 1);
    assert.ok(shares.acquire('a', 90));
    assert.ok(!shares.acquire('a', 1));
    assert.ok(shares.acquire('b', 10));
    assert.ok(!shares.acquire('c', 1));
  });

  it('never exceeds the total, and counts what each peer holds', () => {
    const step = fc.record({
      peer: fc.constantFrom('a', 'b', 'c'),
      amount: fc.nat(60),
      isRelease: fc.boolean(),
    });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 100 }), fc.nat(3), (steps, ratio) => {
        const shares = new Shares(200, ratio);
        const held: { peer: string; amount: number }[] = [];
        for (const { peer, amount, isRelease } of steps) {
          const last = isRelease ? held.pop() : undefined;
          if (last !== undefined) shares.release(last.peer, last.amount);
          else if (shares.acquire(peer, amount)) held.push({ peer, amount });
          const of = (name: string) =>
            held.filter((each) => each.peer === name).reduce((sum, each) => sum + each.amount, 0);
          assert.deepEqual(
            ['a', 'b', 'c'].map((name) => shares.held(name)),
            ['a', 'b', 'c'].map(of),
          );
          assert.equal(shares.used, of('a') + of('b') + of('c'));
          assert.ok(shares.used <= 200);
        }
      }),
      { seed: 3 },
    );
  });
});

describe('AcquisitionBudget', () => {
  const budget = () =>
    new AcquisitionBudget({ maxAcquisitions: 100, maxBytes: 1000, retryAfterMs: 5, peerShareRatio: 1 });

  it('reserves a quarter of the memory for streams, and a quarter for the decoding of files', () => {
    const decoding = budget();
    for (const peer of ['a', 'b', 'c']) decoding.reserveBytes(peer, 250, 'decoding');
    assert.throws(() => decoding.reserveBytes('d', 1, 'decoding'), { reason: 'OVERLOADED', retryAfterMs: 5 });
    decoding.admit('d', 250);
    const streaming = budget();
    for (const peer of ['a', 'b', 'c']) streaming.admit(peer, 250);
    assert.throws(() => streaming.admit('d', 1), { reason: 'OVERLOADED' });
    streaming.reserveBytes('d', 250, 'decoding');
  });

  it('refuses a peer that holds its share, and admits another peer', () => {
    const shared = budget();
    const release = shared.admit('a', 600);
    assert.throws(() => shared.admit('a', 1), { reason: 'QUOTA_EXCEEDED', retryAfterMs: 5 });
    shared.admit('b', 100);
    release();
    shared.admit('a', 1);
    assert.deepEqual([shared.open, shared.bytes], [2, 101]);
  });

  it('refuses an image that can never fit as too large, without a retry delay', () => {
    assert.throws(() => budget().reserveBytes('a', 751, 'decoding'), {
      reason: 'IMAGE_TOO_LARGE',
      retryAfterMs: undefined,
    });
  });
});
