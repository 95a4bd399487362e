import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, describe, it } from 'mocha';
import { Watchdog } from '../../../src/pool/watchdog.js';

const LIMIT_MS = 80;

describe('Watchdog', () => {
  let watchdog: Watchdog;
  let hung: string[];
  const watch = (name: string, measuredMs = 0) => watchdog.watch(measuredMs, () => hung.push(name));
  /** A timer's own: two of them keep their order however slow the machine is. */
  const ticks = async (count: number) => {
    for (let tick = 0; tick < count; tick++) await sleep(LIMIT_MS / 4 + 5);
  };

  beforeEach(() => {
    watchdog = new Watchdog(LIMIT_MS);
    hung = [];
  });
  afterEach(() => watchdog.stop());

  it('tells of a run that does not end, once, and not of those that did', async () => {
    const unwatch = watch('ended');
    watch('hung');
    watch('slow, as measured', 60_000);
    unwatch();
    while (hung.length === 0) await ticks(1);
    await ticks(8);
    assert.deepEqual(hung, ['hung']);
  });

  it('takes a pause of the whole process for one tick', async () => {
    watch('innocent');
    const end = performance.now() + 3 * LIMIT_MS;
    while (performance.now() < end);
    await new Promise((next) => setImmediate(next));
    assert.deepEqual(hung, []);
  });

  it('is silent once stopped', async () => {
    watch('given up');
    watchdog.stop();
    await ticks(8);
    assert.deepEqual(hung, []);
  });
});
