import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { RateLimiter } from '../../../src/limits/rate-limiter.js';

describe('RateLimiter', () => {
  it('allows a burst of half a second, then the rate, for each peer separately', () => {
    let now = 0;
    const limiter = new RateLimiter({ callsPerSecond: 10, now: () => now });
    const excess = Array.from({ length: 7 }, () => limiter.record('a'));
    assert.deepEqual(excess, [0, 0, 0, 0, 0, 100, 200]);
    assert.equal(limiter.record('b'), 0);
    now = 300;
    assert.equal(limiter.record('a'), 0);
    assert.equal(limiter.record('a'), 100);
    now = 10_000;
    assert.equal(limiter.record('a', 5), 0);
    assert.equal(limiter.record('a', 4), 400);
  });

  it('allows any number at rate 0, and removes peers that are within their rate', () => {
    assert.equal(new RateLimiter({ callsPerSecond: 0 }).record('a', 1e9), 0);
    let now = 0;
    const limiter = new RateLimiter({ callsPerSecond: 1, now: () => now });
    for (let peer = 0; peer < 50_000; peer++) {
      limiter.record(`p${peer}`);
      now += 10;
    }
    const { size } = (limiter as unknown as { arrivalMsByPeer: Map<string, number> }).arrivalMsByPeer;
    assert.ok(size <= 4096, `${size} peers are stored`);
  });
});
