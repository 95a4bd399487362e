import assert from 'node:assert/strict';
import { beforeEach, describe, it } from 'mocha';
import { SilenceTimer } from '../../../src/wire/silence-timer.js';
import { SimulatedClock } from '../../support/simulated-clock.js';

const MS = 40;

describe('SilenceTimer', () => {
  let clock: SimulatedClock;
  let timer: SilenceTimer;
  let calls: number;

  const start = (ms: number) => {
    calls = 0;
    clock = new SimulatedClock(0);
    const onSilence = () => {
      calls += 1;
    };
    timer = new SilenceTimer(ms, onSilence, clock.startTimer);
  };
  beforeEach(() => start(MS));

  it('calls once, after its time and as long again', () => {
    clock.advance(2 * MS - 1);
    assert.equal(calls, 0);
    clock.advance(1);
    assert.equal(calls, 1);
    clock.advance(10 * MS);
    assert.equal(calls, 1);
  });

  it('waits at most 250 ms after its time', () => {
    start(10_000);
    clock.advance(10_249);
    assert.equal(calls, 0);
    clock.advance(1);
    assert.equal(calls, 1);
  });

  it('does not call while it is refreshed, nor after it was stopped', () => {
    for (let refresh = 0; refresh < 10; refresh++) {
      clock.advance(MS - 1);
      timer.refresh();
    }
    timer.stop();
    timer.refresh();
    clock.advance(10 * MS);
    assert.equal(calls, 0);
  });

  it('does not call if it is stopped when its time is over', () => {
    clock.advance(MS);
    timer.stop();
    clock.advance(10 * MS);
    assert.equal(calls, 0);
  });

  it('does not call for data that is read after its time, and starts again from there', () => {
    // As after a pause of the process: timers run before the sockets are read.
    clock.advance(MS + 1);
    timer.refresh();
    clock.advance(2 * MS - 1);
    assert.equal(calls, 0);
    clock.advance(MS);
    assert.equal(calls, 1);
  });

  it('uses the timers of Node by default', async () => {
    const started = performance.now();
    await new Promise<void>((resolve) => new SilenceTimer(MS, resolve));
    // The timers of Node may be a millisecond early each.
    assert.ok(performance.now() - started >= 2 * MS - 2);
  });
});
