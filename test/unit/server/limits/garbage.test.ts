import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { GarbageWatch } from '../../../../src/server/limits/garbage.js';

const MIB = 1024 * 1024;

describe('GarbageWatch', () => {
  it('collects what V8 has left twice while nobody waited, and nothing else', () => {
    let used = 100;
    let idle = true;
    let collected = 0;
    const watch = new GarbageWatch({
      isIdle: () => idle,
      usedBytes: () => used * MIB,
      collect: () => {
        collected += 1;
        used = 110;
      },
    });
    const check = (usedNow: number, isIdle = true) => {
      [used, idle] = [usedNow, isIdle];
      watch.check();
      return collected;
    };
    try {
      assert.equal(check(100), 0);
      // In use.
      assert.equal(check(600, false), 0);
      assert.equal(check(600, false), 0);
      // Over, but V8 may yet collect it.
      assert.equal(check(600), 0);
      assert.equal(check(120), 0);
      // Left.
      assert.equal(check(600), 0);
      assert.equal(check(600), 1);
      assert.equal(check(150), 1);
      assert.equal(check(150), 1);
    } finally {
      watch.close();
    }
  });

  it('has a collector', async () => {
    let freed = 0;
    const registry = new FinalizationRegistry(() => {
      freed += 1;
    });
    let used = 0;
    const watch = new GarbageWatch({ isIdle: () => true, usedBytes: () => used });
    try {
      watch.check();
      used = 100 * MIB;
      registry.register({ some: 'object' }, undefined);
      for (let turn = 0; turn < 50 && freed === 0; turn++) {
        watch.check();
        await new Promise((next) => setImmediate(next));
      }
      assert.equal(freed, 1);
    } finally {
      watch.close();
    }
  });
});
