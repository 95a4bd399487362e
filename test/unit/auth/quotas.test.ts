import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { Quotas } from '../../../src/auth/quotas.js';

const exceeded = { reason: 'QUOTA_EXCEEDED' };

describe('Quotas', () => {
  it('counts acquisitions by identity, and takes each back once', () => {
    const quotas = new Quotas({ maxAcquisitions: 2, maxBytesPerSecond: 0, longestPauseMs: 1000 });
    const [first] = [quotas.begin('a'), quotas.begin('a')];
    assert.throws(() => quotas.begin('a'), exceeded);
    quotas.begin('b');
    first?.();
    first?.();
    quotas.begin('a');
    assert.throws(() => quotas.begin('a'), exceeded);
  });

  it('paces bytes after a second of burst, pays off with time, and refuses only what no pause makes good', () => {
    let now = 5000;
    const quotas = new Quotas(
      { maxAcquisitions: 0, maxBytesPerSecond: 100, longestPauseMs: 2000 },
      () => now,
    );
    quotas.take('a', 100);
    assert.equal(quotas.pauseMs('a'), 0);
    quotas.take('a', 50);
    assert.equal(quotas.pauseMs('a'), 500);
    assert.equal(quotas.pauseMs('b'), 0);
    now += 200;
    assert.equal(quotas.pauseMs('a'), 300);
    quotas.refuseDebt('a');
    quotas.take('a', 1000);
    assert.equal(quotas.pauseMs('a'), 2000);
    assert.throws(() => quotas.refuseDebt('a'), { ...exceeded, retryAfterMs: 10_300 });
    now += 8300;
    quotas.refuseDebt('a');
    now += 60_000;
    quotas.take('a', 100);
    assert.equal(quotas.pauseMs('a'), 0);
  });

  it('holds the rate of a steady sender, whatever the size of its messages', () => {
    for (const bytes of [1, 37, 400]) {
      let now = 0;
      const quotas = new Quotas(
        { maxAcquisitions: 0, maxBytesPerSecond: 1000, longestPauseMs: 5000 },
        () => now,
      );
      let sent = 0;
      while (now < 60_000) {
        quotas.take('a', bytes);
        sent += bytes;
        now += quotas.pauseMs('a');
        now += 0.01;
      }
      assert.ok(Math.abs(sent - 61_000) <= 1000 + bytes, `${sent} bytes in a minute`);
    }
  });

  it('forgets identities that take nothing, never those that hold something', () => {
    const quotas = new Quotas({ maxAcquisitions: 1, maxBytesPerSecond: 0, longestPauseMs: 1000 }, () => 1);
    quotas.begin('holder');
    for (let index = 0; index < 5000; index++) quotas.begin(`passer-by ${index}`)();
    assert.throws(() => quotas.begin('holder'), exceeded);
  });
});
