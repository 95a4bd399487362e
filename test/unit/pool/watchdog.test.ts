import assert from 'node:assert/strict';
import { beforeEach, describe, it } from 'mocha';
import { Watchdog } from '../../../src/pool/watchdog.js';
import { SimulatedClock } from '../../support/simulated-clock.js';

const LIMIT_MS = 80;

describe('Watchdog', () => {
  let clock: SimulatedClock;
  let watchdog: Watchdog;
  let hung: string[];
  const watch = (name: string, expectedMs = 0) => watchdog.watch(expectedMs, () => hung.push(name));

  beforeEach(() => {
    clock = new SimulatedClock(0);
    watchdog = new Watchdog(LIMIT_MS, clock.startTimer);
    hung = [];
  });

  it('reports a run that does not end, once, and no run that ended', () => {
    const unwatch = watch('ended');
    watch('hung');
    watch('slow, as measured', 60_000);
    unwatch();
    clock.advance(LIMIT_MS);
    assert.deepEqual(hung, []);
    clock.advance(LIMIT_MS / 4);
    assert.deepEqual(hung, ['hung']);
    clock.advance(20 * 60_000 - 1);
    assert.deepEqual(hung, ['hung']);
    clock.advance(1);
    assert.deepEqual(hung, ['hung', 'slow, as measured']);
  });

  it('counts a pause of the whole process as one tick', async () => {
    // With the timers of Node, whose behaviour after a pause this test is about.
    const real = new Watchdog(LIMIT_MS);
    real.watch(0, () => hung.push('not hung'));
    const end = performance.now() + 3 * LIMIT_MS;
    while (performance.now() < end);
    await new Promise((next) => setImmediate(next));
    real.stop();
    assert.deepEqual(hung, []);
  });

  it('does not count the time while a run is paused', () => {
    let isPaused = true;
    watchdog.watch(
      0,
      () => hung.push('paused'),
      () => isPaused,
    );
    clock.advance(10 * LIMIT_MS);
    assert.deepEqual(hung, []);
    isPaused = false;
    clock.advance(2 * LIMIT_MS);
    assert.deepEqual(hung, ['paused']);
  });

  it('reports nothing after it was stopped', () => {
    watch('stopped');
    watchdog.stop();
    assert.equal(clock.pending, 0);
    clock.advance(2 * LIMIT_MS);
    assert.deepEqual(hung, []);
  });
});
