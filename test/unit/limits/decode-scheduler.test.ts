import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { DecodeScheduler } from '../../../src/limits/decode-scheduler.js';

function setUp() {
  let now = 0;
  let scheduled: (() => void)[] = [];
  const scheduler = new DecodeScheduler({
    turnMs: 10,
    now: () => now,
    runInNextTurn: (task) => scheduled.push(task),
  });
  /** Peers of the tasks that ran, in order. */
  const ran: string[] = [];
  return {
    ran,
    run: (peer: string, ms: number) =>
      scheduler.run(peer, () => {
        ran.push(peer);
        now += ms;
      }),
    turn: () => {
      const tasks = scheduled;
      scheduled = [];
      for (const task of tasks) task();
    },
    isIdle: () => scheduled.length === 0,
  };
}

describe('DecodeScheduler', () => {
  it('runs tasks at once during the first ms of a turn, then one in each following turn, of each peer in turn', () => {
    const { ran, run, turn, isIdle } = setUp();
    for (let index = 0; index < 6; index++) run('many', 4);
    run('one', 4);
    assert.deepEqual(ran, ['many', 'many', 'many']);
    const later: string[] = [];
    while (!isIdle()) {
      turn();
      later.push(ran.slice(3).join());
    }
    // One task in each turn, because handlers run after it.
    assert.deepEqual(later.slice(0, 4), ['many', 'many,one', 'many,one,many', 'many,one,many,many']);
    assert.equal(ran.length, 7);
  });

  it('never runs a new task before a waiting one, and runs at once again when none waits', () => {
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
