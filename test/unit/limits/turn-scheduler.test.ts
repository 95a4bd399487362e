import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { TurnScheduler } from '../../../src/limits/turn-scheduler.js';

function setUp() {
  let now = 0;
  let scheduled: (() => void)[] = [];
  const scheduler = new TurnScheduler({
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

describe('TurnScheduler', () => {
  it('runs tasks at once during the first ms of a turn, then in following turns as long, of each peer in turn', () => {
    const { ran, run, turn, isIdle } = setUp();
    for (let index = 0; index < 7; index++) run('many', 4);
    run('one', 4);
    assert.deepEqual(ran, ['many', 'many', 'many']);
    const byTurn: string[] = [];
    while (!isIdle()) {
      const before = ran.length;
      turn();
      byTurn.push(ran.slice(before).join());
    }
    // The last turn only notes that the one before has ended.
    assert.deepEqual(byTurn, ['many,one,many', 'many,many', '']);
  });

  it('runs one task in a turn where each takes longer than its time', () => {
    const { ran, run, turn } = setUp();
    for (let index = 0; index < 4; index++) run('a', 11);
    for (const count of [2, 3, 4]) {
      turn();
      assert.equal(ran.length, count);
    }
  });

  it('never runs a new task before a waiting one, and runs at once again when none waits', () => {
    const { ran, run, turn, isIdle } = setUp();
    run('a', 20);
    run('a', 20);
    run('b', 1);
    assert.deepEqual(ran, ['a']);
    turn();
    run('c', 1);
    assert.deepEqual(ran, ['a', 'a']);
    turn();
    assert.deepEqual(ran, ['a', 'a', 'b', 'c']);
    turn();
    assert.ok(isIdle());
    run('d', 1);
    assert.deepEqual(ran.at(-1), 'd');
  });

  it('runs a waiting task in every turn, however much arrives in between', () => {
    const { ran, run, turn } = setUp();
    for (let index = 0; index < 60; index++) {
      const before = ran.length;
      for (let arrived = 0; arrived < 40; arrived++) run(`${index % 3}`, 6);
      turn();
      assert.ok(ran.length > before);
    }
  });
});
