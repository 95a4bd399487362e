import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { inTurns } from '../../../src/util/turns.js';

describe('inTurns', () => {
  /** Steps that take a millisecond of the processor each. */
  function* steps(count: number, done: () => void): Generator<void, string> {
    for (let step = 0; step < count; step++) {
      const until = performance.now() + 1;
      while (performance.now() < until);
      done();
      yield;
    }
    return 'done';
  }

  it('handles other events between the steps of long work, and returns its result', async () => {
    let events = 0;
    let isOver = false;
    const tick = () => {
      events++;
      if (!isOver) setImmediate(tick);
    };
    setImmediate(tick);
    let stepsDone = 0;
    const result = await inTurns(
      steps(60, () => {
        stepsDone++;
      }),
    );
    isOver = true;
    assert.deepEqual([result, stepsDone], ['done', 60]);
    assert.ok(events >= 5, `${events} events in between`);
  });

  it('ends with the reason of a signal that aborts, between two steps', async () => {
    const controller = new AbortController();
    const reason = new Error('stopped');
    let stepsDone = 0;
    const work = inTurns(
      steps(1000, () => {
        stepsDone++;
      }),
      controller.signal,
    );
    setImmediate(() => controller.abort(reason));
    await assert.rejects(work, reason);
    assert.ok(stepsDone < 100, `${stepsDone} steps`);
  });
});
