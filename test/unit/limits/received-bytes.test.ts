import assert from 'node:assert/strict';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { describe, it } from 'mocha';
import { ReceivedBytes } from '../../../src/limits/received-bytes.js';

describe('ReceivedBytes', () => {
  it('makes messages wait for room, a peer in its order, and does not keep the others waiting', async () => {
    const received = new ReceivedBytes(10_000, 1);
    const got: string[] = [];
    const take = (peer: string, bytes: number, name: string) => {
      if (received.take(peer, bytes, () => got.push(name))) got.push(`${name} at once`);
    };
    take('a', 6000, 'a1');
    take('a', 100, 'a2');
    take('a', 100, 'a3');
    take('b', 3000, 'b1');
    assert.deepEqual(got, ['a1 at once', 'b1 at once']);
    received.give('a', 6000);
    await nextTurn();
    assert.deepEqual(got.slice(2), ['a2', 'a3']);
    received.give('b', 3000);
    received.give('a', 100);
    received.give('a', 100);
    assert.equal(received.taken, 0);
  });

  it('forgets whoever waits no more, and lets those behind go on', async () => {
    const received = new ReceivedBytes(1000, 1);
    const got: string[] = [];
    const large = () => got.push('large');
    assert.ok(received.take('a', 500, () => {}));
    assert.ok(!received.take('a', 700, large));
    assert.ok(!received.take('a', 10, () => got.push('small')));
    received.stopWaiting('a', large);
    received.give('a', 500);
    await nextTurn();
    assert.deepEqual(got, ['small']);
  });
});
