import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, it } from 'mocha';
import { MemoryRelease } from '../../../src/limits/memory-release.js';

const MIB = 1024 * 1024;

describe('MemoryRelease', () => {
  it('releases memory that has grown after two idle checks in a row, and not again for the same growth', () => {
    let resident = 0;
    let idle = true;
    let releases = 0;
    let afterRelease = 0;
    const memory = new MemoryRelease({
      isIdle: () => idle,
      residentBytes: () => resident * MIB,
      release: () => {
        releases += 1;
        resident = afterRelease;
      },
    });
    const check = (residentNow: number, isIdle = true) => {
      [resident, idle] = [residentNow, isIdle];
      memory.check();
      return releases;
    };
    try {
      afterRelease = 500;
      // Memory that loading the models has left.
      assert.deepEqual([check(600), check(600)], [0, 1]);
      assert.deepEqual([check(500), check(560), check(560)], [1, 1, 1]);
      // Idle for one check only.
      assert.deepEqual([check(900, false), check(900), check(900, false)], [1, 1, 1]);
      // Part of it is not released: that is tried again, at growing intervals.
      afterRelease = 700;
      assert.deepEqual([check(900), check(900)], [1, 2]);
      const counts = Array.from({ length: 40 }, () => check(resident));
      assert.deepEqual(counts.slice(0, 6), [2, 3, 3, 3, 3, 4]);
      assert.ok((counts.at(-1) ?? 0) <= 8, counts.join());
      // At once after new growth.
      assert.deepEqual([check(800), check(800)], [(counts.at(-1) ?? 0) + 1, (counts.at(-1) ?? 0) + 1]);
      // Until it is released.
      afterRelease = 510;
      const later = Array.from({ length: 140 }, () => check(resident)).at(-1);
      assert.equal(resident, 510);
      assert.equal(later, (counts.at(-1) ?? 0) + 2);
    } finally {
      memory.close();
    }
  });

  it('releases on request once it is idle, also where memory has not grown', () => {
    let idle = false;
    let releases = 0;
    const memory = new MemoryRelease({
      isIdle: () => idle,
      residentBytes: () => MIB,
      release: () => {
        releases += 1;
      },
    });
    try {
      memory.releaseSoon();
      memory.check();
      memory.check();
      assert.equal(releases, 0);
      idle = true;
      const counts = Array.from({ length: 5 }, () => {
        memory.check();
        return releases;
      });
      assert.deepEqual(counts, [0, 1, 1, 1, 1]);
    } finally {
      memory.close();
    }
  });

  it('releases the memory of buffers and objects to the system', async function () {
    this.timeout(20_000);
    // Small buffers with kept ones between them: the C library does not release their memory by itself.
    let buffers: Buffer[] = [];
    const kept: Buffer[] = [];
    for (let index = 0; index < 20_000; index++) {
      buffers.push(Buffer.alloc(10_000, 1));
      if (index % 100 === 0) kept.push(Buffer.alloc(10_000, 1));
    }
    const memory = new MemoryRelease({ isIdle: () => true });
    const before = process.memoryUsage.rss();
    buffers = [];
    memory.check();
    memory.check();
    const deadline = performance.now() + 10_000;
    while (process.memoryUsage.rss() > before - 120 * MIB && performance.now() < deadline) await sleep(20);
    memory.close();
    const released = before - process.memoryUsage.rss();
    assert.ok(released > 120 * MIB, `${(released / MIB).toFixed(0)} of 190 MiB were released`);
    assert.equal(kept.length, 200);
    assert.equal(buffers.length, 0);
  });
});
