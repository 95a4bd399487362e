import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { cancellation } from '../../../src/server/handlers/cancellation.js';

describe('cancellation', () => {
  const DEADLINE = 1_000_000;
  const reasonAt = (nowMs: number, deadline: Date | number = DEADLINE) =>
    cancellation({ getDeadline: () => deadline }, nowMs).reason;

  it('is CANCELLED well before the deadline, and for a call without one', () => {
    assert.equal(reasonAt(DEADLINE - 101), 'CANCELLED');
    assert.equal(reasonAt(DEADLINE, Number.POSITIVE_INFINITY), 'CANCELLED');
  });

  it('is DEADLINE_EXCEEDED from a moment before the deadline, when the clock of the client has passed it', () => {
    for (const nowMs of [DEADLINE - 100, DEADLINE, DEADLINE + 1]) {
      assert.equal(reasonAt(nowMs), 'DEADLINE_EXCEEDED');
      assert.equal(reasonAt(nowMs, new Date(DEADLINE)), 'DEADLINE_EXCEEDED');
    }
  });
});
