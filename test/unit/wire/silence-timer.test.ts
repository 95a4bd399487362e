import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, it } from 'mocha';
import { SilenceTimer } from '../../../src/wire/silence-timer.js';

const MS = 40;

/** Blocks this thread, as a pause of the process does. */
function pause(ms: number): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms);
}

function timer() {
  let calls = 0;
  const one = new SilenceTimer(MS, () => {
    calls += 1;
  });
  return { one, calls: () => calls };
}

describe('SilenceTimer', () => {
  it('calls once after its time without a refresh', async () => {
    const { one, calls } = timer();
    const started = performance.now();
    while (calls() === 0) await sleep(1);
    assert.ok(performance.now() - started >= MS - 1);
    await sleep(2 * MS);
    assert.equal(calls(), 1);
    one.stop();
  });

  it('does not call while it is refreshed, nor after it was stopped', async () => {
    const { one, calls } = timer();
    const stopAt = performance.now() + 3 * MS;
    while (performance.now() < stopAt) {
      one.refresh();
      await new Promise((turn) => setImmediate(turn));
    }
    one.stop();
    one.refresh();
    await sleep(3 * MS);
    assert.equal(calls(), 0);
  });

  it('waits after a pause until data that arrived meanwhile was read', async () => {
    const { one, calls } = timer();
    pause(2 * MS + 200);
    // The timer is due; the data that the kernel holds is delivered in the turns after it.
    setTimeout(() => one.refresh(), 1);
    await sleep(MS / 2);
    assert.equal(calls(), 0);
    while (calls() === 0) await sleep(1);
    one.stop();
  });
});
