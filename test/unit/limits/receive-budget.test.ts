import assert from 'node:assert/strict';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { describe, it } from 'mocha';
import { ReceiveBudget } from '../../../src/limits/receive-budget.js';

describe('ReceiveBudget', () => {
  it('makes messages wait for memory in the order of their peer, without delaying other peers', async () => {
    const budget = new ReceiveBudget(10_000, 1);
    const reserved: string[] = [];
    const reserve = (peer: string, bytes: number, name: string) => {
      if (budget.reserve(peer, bytes, () => reserved.push(name))) reserved.push(`${name} at once`);
    };
    reserve('a', 6000, 'a1');
    reserve('a', 100, 'a2');
    reserve('a', 100, 'a3');
    reserve('b', 3000, 'b1');
    assert.deepEqual(reserved, ['a1 at once', 'b1 at once']);
    budget.release('a', 6000);
    await nextTurn();
    assert.deepEqual(reserved.slice(2), ['a2', 'a3']);
    budget.release('b', 3000);
    budget.release('a', 100);
    budget.release('a', 100);
    assert.equal(budget.reservedBytes, 0);
  });

  it('has memory for one message of its total size', () => {
    const budget = new ReceiveBudget(1000, 1);
    assert.ok(budget.reserve('a', 1000, () => {}));
    budget.release('a', 1000);
    assert.equal(budget.reservedBytes, 0);
  });

  it('removes a message that stops waiting, and serves those after it', async () => {
    const budget = new ReceiveBudget(1000, 1);
    const reserved: string[] = [];
    const large = () => reserved.push('large');
    assert.ok(budget.reserve('a', 500, () => {}));
    assert.ok(!budget.reserve('a', 700, large));
    assert.ok(!budget.reserve('a', 10, () => reserved.push('small')));
    budget.stopWaiting('a', large);
    budget.release('a', 500);
    await nextTurn();
    assert.deepEqual(reserved, ['small']);
  });
});
