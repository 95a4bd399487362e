import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { Rates } from '../../../src/limits/rates.js';

describe('Rates', () => {
  it('lets half a second of the rate begin at once, then the rate; each peer has its own', () => {
    let now = 0;
    const rates = new Rates({ perSecond: 10, now: () => now });
    const owed = Array.from({ length: 7 }, () => rates.take('a'));
    assert.deepEqual(owed, [0, 0, 0, 0, 0, 100, 200]);
    assert.equal(rates.take('b'), 0);
    now = 300;
    assert.equal(rates.take('a'), 0);
    assert.equal(rates.take('a'), 100);
    now = 10_000;
    assert.equal(rates.take('a', 5), 0);
    assert.equal(rates.take('a', 4), 400);
  });

  it('counts nothing at 0, and forgets peers that owe nothing', () => {
    assert.equal(new Rates({ perSecond: 0 }).take('a', 1e9), 0);
    let now = 0;
    const rates = new Rates({ perSecond: 1, now: () => now });
    for (let peer = 0; peer < 50_000; peer++) {
      rates.take(`p${peer}`);
      now += 10;
    }
    const known = (rates as unknown as { paidAt: Map<string, number> }).paidAt.size;
    assert.ok(known <= 4096, `${known} peers are remembered`);
  });
});
