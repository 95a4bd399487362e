import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { Turns } from '../../../src/limits/turns.js';

function setUp() {
  let now = 0;
  let next: (() => void)[] = [];
  const turns = new Turns({ turnMs: 10, now: () => now, nextTurn: (task) => next.push(task) });
  const ran: string[] = [];
  return {
    ran,
    run: (peer: string, ms: number) =>
      turns.run(peer, () => {
        ran.push(peer);
        now += ms;
      }),
    turn: () => {
      const tasks = next;
      next = [];
      for (const task of tasks) task();
    },
    isIdle: () => next.length === 0,
  };
}

describe('Turns', () => {
  it('runs at once while the turn is young, then one of each peer in the turns that follow', () => {
    const { ran, run, turn, isIdle } = setUp();
    for (let index = 0; index < 6; index++) run('many', 4);
    run('one', 4);
    assert.deepEqual(ran, ['many', 'many', 'many']);
    const later: string[] = [];
    while (!isIdle()) {
      turn();
      later.push(ran.slice(3).join());
    }
    // One each turn: handlers have theirs after it.
    assert.deepEqual(later.slice(0, 4), ['many', 'many,one', 'many,one,many', 'many,one,many,many']);
    assert.equal(ran.length, 7);
  });

  it('lets nothing pass what waits, and runs at once again when nothing does', () => {
    const { ran, run, turn, isIdle } = setUp();
    run('a', 20);
    run('a', 1);
    run('b', 1);
    assert.deepEqual(ran, ['a']);
    turn();
    run('a', 1);
    turn();
    turn();
    assert.deepEqual(ran, ['a', 'a', 'b', 'a']);
    turn();
    assert.ok(isIdle());
    run('c', 1);
    assert.deepEqual(ran.at(-1), 'c');
  });
});
