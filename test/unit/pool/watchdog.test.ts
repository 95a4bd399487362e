import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, describe, it } from 'mocha';
import { Watchdog } from '../../../src/pool/watchdog.js';

const LIMIT_MS = 80;

describe('Watchdog', () => {
  let watchdog: Watchdog;
  let hung: string[];
  const watch = (name: string, measuredMs = 0) => watchdog.watch(measuredMs, () => hung.push(name));
  /** Waits by timers of the same kind as the watchdog's: their order is the same on a slow machine. */
  const ticks = async (count: number) => {
    for (let tick = 0; tick < count; tick++) await sleep(LIMIT_MS / 4 + 5);
  };

  beforeEach(() => {
    watchdog = new Watchdog(LIMIT_MS);
    hung = [];
  });
  afterEach(() => watchdog.stop());

  it('reports a run that does not end, once, and no run that ended', async () => {
    const unwatch = watch('ended');
    watch('hung');
    watch('slow, as measured', 60_000);
    unwatch();
    while (hung.length === 0) await ticks(1);
    await ticks(8);
    assert.deepEqual(hung, ['hung']);
  });

  it('counts a pause of the whole process as one tick', async () => {
    watch('not hung');
    const end = performance.now() + 3 * LIMIT_MS;
    while (performance.now() < end);
    await new Promise((next) => setImmediate(next));
    assert.deepEqual(hung, []);
  });

  it('does not count the time while a run is paused', async () => {
    let isPaused = true;
    watchdog.watch(
      0,
      () => hung.push('paused'),
      () => isPaused,
    );
    await ticks(10);
    assert.deepEqual(hung, []);
    isPaused = false;
    while (hung.length === 0) await ticks(1);
    assert.deepEqual(hung, ['paused']);
  });

  it('reports nothing after it was stopped', async () => {
    watch('stopped');
    watchdog.stop();
    await ticks(8);
    assert.deepEqual(hung, []);
  });
});
