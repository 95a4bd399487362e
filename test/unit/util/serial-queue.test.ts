import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { SerialQueue } from '../../../src/util/serial-queue.js';

describe('SerialQueue', () => {
  it('runs work in order, one at a time, also after a failure', async () => {
    const queue = new SerialQueue();
    const events: string[] = [];
    const work = (name: string, turns: number) => async () => {
      events.push(`${name} begins`);
      for (let turn = 0; turn < turns; turn++) await Promise.resolve();
      events.push(`${name} ends`);
      if (name === 'second') throw new Error('second failed');
      return name;
    };
    const results = [queue.run(work('first', 5)), queue.run(work('second', 0)), queue.run(work('third', 1))];
    const outcomes = await Promise.allSettled(results);
    assert.deepEqual(
      outcomes.map((outcome) => (outcome.status === 'fulfilled' ? outcome.value : outcome.reason.message)),
      ['first', 'second failed', 'third'],
    );
    assert.deepEqual(
      events,
      ['first', 'second', 'third'].flatMap((name) => [`${name} begins`, `${name} ends`]),
    );
  });

  it('is drained when all work has ended, also where it failed', async () => {
    const queue = new SerialQueue();
    let ended = 0;
    const failed = queue.run(async () => {
      await Promise.resolve();
      ended += 1;
      throw new Error('failed');
    });
    failed.catch(() => {});
    await queue.drained();
    assert.equal(ended, 1);
  });
});
