import assert from 'node:assert/strict';
import fc from 'fast-check';
import { describe, it } from 'mocha';
import { AcquisitionBudget } from '../../../src/acquisition/budget.js';
import { Shares } from '../../../src/acquisition/shares.js';

/** Takes one after another until nothing more is had. */
function takeAll(shares: Shares, peer: string): number {
  let count = 0;
  while (shares.take(peer, 1)) count += 1;
  return count;
}

describe('Shares', () => {
  it('gives one peer half, two a third each, and so on: something is left for the next', () => {
    for (const peers of [1, 2, 3, 7]) {
      const shares = new Shares(1000, 1);
      // In turns, as peers that come at the same time do.
      for (let going = true; going; ) {
        going = false;
        for (let peer = 0; peer < peers; peer++) going = shares.take(`p${peer}`, 1) || going;
      }
      for (let peer = 0; peer < peers; peer++) {
        const held = shares.held(`p${peer}`);
        assert.ok(Math.abs(held - 1000 / (peers + 1)) <= 2, `${held} of 1000 for one of ${peers}`);
      }
      assert.ok(shares.take('new', 1));
    }
  });

  it('gives one peer more at a higher ratio, and all at 0', () => {
    assert.equal(takeAll(new Shares(100, 3), 'a'), 76);
    assert.equal(takeAll(new Shares(100, 0), 'a'), 100);
  });

  it('lets one peer have few things whole: the only one, and both of two', () => {
    assert.deepEqual([takeAll(new Shares(1, 1), 'a'), takeAll(new Shares(2, 1), 'a')], [1, 2]);
  });

  it('takes a thing larger than a share from a peer that holds nothing', () => {
    const shares = new Shares(100, 1);
    assert.ok(shares.take('a', 90));
    assert.ok(!shares.take('a', 1));
    assert.ok(shares.take('b', 10));
    assert.ok(!shares.take('c', 1));
  });

  it('never gives more than there is, and counts what each peer holds', () => {
    const step = fc.record({ peer: fc.constantFrom('a', 'b', 'c'), amount: fc.nat(60), gives: fc.boolean() });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 100 }), fc.nat(3), (steps, ratio) => {
        const shares = new Shares(200, ratio);
        const held: { peer: string; amount: number }[] = [];
        for (const { peer, amount, gives } of steps) {
          const last = gives ? held.pop() : undefined;
          if (last !== undefined) shares.give(last.peer, last.amount);
          else if (shares.take(peer, amount)) held.push({ peer, amount });
          const of = (name: string) =>
            held.filter((each) => each.peer === name).reduce((sum, each) => sum + each.amount, 0);
          assert.deepEqual(
            ['a', 'b', 'c'].map((name) => shares.held(name)),
            ['a', 'b', 'c'].map(of),
          );
          assert.equal(shares.taken, of('a') + of('b') + of('c'));
          assert.ok(shares.taken <= 200);
        }
      }),
      { seed: 3 },
    );
  });
});

describe('AcquisitionBudget', () => {
  const budget = () =>
    new AcquisitionBudget({ maxAcquisitions: 100, maxBytes: 1000, retryAfterMs: 5, peerShareRatio: 1 });

  it('keeps a quarter for streams while files are decoded, and for files while streams run', () => {
    const decoding = budget();
    for (const peer of ['a', 'b', 'c']) decoding.reserveBytes(peer, 250, 'decoding');
    assert.throws(() => decoding.reserveBytes('d', 1, 'decoding'), { reason: 'OVERLOADED', retryAfterMs: 5 });
    decoding.admit('d', 250);
    const streaming = budget();
    for (const peer of ['a', 'b', 'c']) streaming.admit(peer, 250);
    assert.throws(() => streaming.admit('d', 1), { reason: 'OVERLOADED' });
    streaming.reserveBytes('d', 250, 'decoding');
  });

  it('refuses a peer that holds its share, and not the next', () => {
    const shared = budget();
    const release = shared.admit('a', 600);
    assert.throws(() => shared.admit('a', 1), { reason: 'QUOTA_EXCEEDED', retryAfterMs: 5 });
    shared.admit('b', 100);
    release();
    shared.admit('a', 1);
    assert.deepEqual([shared.open, shared.bytes], [2, 101]);
  });

  it('says of what can never fit that it is too large, so that nobody comes back for it', () => {
    assert.throws(() => budget().reserveBytes('a', 751, 'decoding'), {
      reason: 'IMAGE_TOO_LARGE',
      retryAfterMs: undefined,
    });
  });
});
