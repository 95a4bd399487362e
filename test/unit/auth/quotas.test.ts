import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { Quotas } from '../../../src/auth/quotas.js';

const exceeded = { reason: 'QUOTA_EXCEEDED' };

describe('Quotas', () => {
  it('limits open acquisitions of each identity, and releases each once', () => {
    const quotas = new Quotas({ maxAcquisitions: 2, maxBytesPerSecond: 0, maxPauseMs: 1000 });
    const [first] = [quotas.openAcquisition('a'), quotas.openAcquisition('a')];
    assert.throws(() => quotas.openAcquisition('a'), exceeded);
    quotas.openAcquisition('b');
    first?.();
    first?.();
    quotas.openAcquisition('a');
    assert.throws(() => quotas.openAcquisition('a'), exceeded);
  });

  it('pauses reading after a burst of one second, and refuses calls only where the longest pause is too short', () => {
    let now = 5000;
    const quotas = new Quotas({ maxAcquisitions: 0, maxBytesPerSecond: 100, maxPauseMs: 2000 }, () => now);
    quotas.recordBytes('a', 100);
    assert.equal(quotas.pauseMs('a'), 0);
    quotas.recordBytes('a', 50);
    assert.equal(quotas.pauseMs('a'), 500);
    assert.equal(quotas.pauseMs('b'), 0);
    now += 200;
    assert.equal(quotas.pauseMs('a'), 300);
    quotas.checkByteRate('a');
    quotas.recordBytes('a', 1000);
    assert.equal(quotas.pauseMs('a'), 2000);
    assert.throws(() => quotas.checkByteRate('a'), { ...exceeded, retryAfterMs: 10_300 });
    now += 8300;
    quotas.checkByteRate('a');
    now += 60_000;
    quotas.recordBytes('a', 100);
    assert.equal(quotas.pauseMs('a'), 0);
  });

  it('keeps a steady sender at its rate, for any size of its messages', () => {
    for (const bytes of [1, 37, 400]) {
      let now = 0;
      const quotas = new Quotas({ maxAcquisitions: 0, maxBytesPerSecond: 1000, maxPauseMs: 5000 }, () => now);
      let sent = 0;
      while (now < 60_000) {
        quotas.recordBytes('a', bytes);
        sent += bytes;
        now += quotas.pauseMs('a');
        now += 0.01;
      }
      assert.ok(Math.abs(sent - 61_000) <= 1000 + bytes, `${sent} bytes in a minute`);
    }
  });

  it('removes identities without open acquisitions, never those that have some', () => {
    const quotas = new Quotas({ maxAcquisitions: 1, maxBytesPerSecond: 0, maxPauseMs: 1000 }, () => 1);
    quotas.openAcquisition('holder');
    for (let index = 0; index < 5000; index++) quotas.openAcquisition(`other ${index}`)();
    assert.throws(() => quotas.openAcquisition('holder'), exceeded);
  });
});
