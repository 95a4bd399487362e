import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { GarbageWatch } from '../../../../src/server/limits/garbage.js';

const MIB = 1024 * 1024;

describe('GarbageWatch', () => {
  it('collects what nobody holds and V8 has left twice, and nothing else', () => {
    let buffers = 100 * MIB;
    let held = 0;
    let collected = 0;
    const watch = new GarbageWatch({
      heldBytes: () => held,
      bufferBytes: () => buffers,
      collect: () => {
        collected += 1;
        buffers = 100 * MIB + held;
      },
    });
    const check = (nextBuffers: number, nextHeld: number) => {
      [buffers, held] = [nextBuffers * MIB, nextHeld * MIB];
      watch.check();
      return collected;
    };
    try {
      assert.equal(check(100, 0), 0);
      // In use.
      assert.equal(check(600, 500), 0);
      assert.equal(check(600, 500), 0);
      // Over, but V8 may yet collect it.
      assert.equal(check(600, 0), 0);
      assert.equal(check(120, 0), 0);
      // Left.
      assert.equal(check(600, 0), 0);
      assert.equal(check(600, 0), 1);
      assert.equal(check(150, 0), 1);
      assert.equal(check(150, 0), 1);
    } finally {
      watch.close();
    }
  });

  it('has a collector', async () => {
    let freed = 0;
    const registry = new FinalizationRegistry(() => {
      freed += 1;
    });
    const watch = new GarbageWatch({ heldBytes: () => 0, bufferBytes: () => (freed === 0 ? 200 * MIB : 0) });
    try {
      watch.check();
      (watch as unknown as { ownBytes: number }).ownBytes = 0;
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
