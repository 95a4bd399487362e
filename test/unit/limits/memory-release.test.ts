import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, it } from 'mocha';
import { MemoryRelease } from '../../../src/limits/memory-release.js';

const MIB = 1024 * 1024;

describe('MemoryRelease', () => {
  it('releases what has grown once nobody was served twice in a row, and not again for the same', () => {
    let resident = 0;
    let idle = true;
    let releases = 0;
    let left = 0;
    const memory = new MemoryRelease({
      isIdle: () => idle,
      residentBytes: () => resident * MIB,
      release: () => {
        releases += 1;
        resident = left;
      },
    });
    const check = (residentNow: number, isIdle = true) => {
      [resident, idle] = [residentNow, isIdle];
      memory.check();
      return releases;
    };
    try {
      left = 500;
      // What warming up has left.
      assert.deepEqual([check(600), check(600)], [0, 1]);
      assert.deepEqual([check(500), check(560), check(560)], [1, 1, 1]);
      // Busy, then a pause, then busy.
      assert.deepEqual([check(900, false), check(900), check(900, false)], [1, 1, 1]);
      // Some of it does not go: that is tried again, ever more rarely.
      left = 700;
      assert.deepEqual([check(900), check(900)], [1, 2]);
      const counts = Array.from({ length: 40 }, () => check(resident));
      assert.deepEqual(counts.slice(0, 6), [2, 3, 3, 3, 3, 4]);
      assert.ok((counts.at(-1) ?? 0) <= 8, counts.join());
      // At once where more has come since.
      assert.deepEqual([check(800), check(800)], [(counts.at(-1) ?? 0) + 1, (counts.at(-1) ?? 0) + 1]);
      // Until it does.
      left = 510;
      const later = Array.from({ length: 140 }, () => check(resident)).at(-1);
      assert.equal(resident, 510);
      assert.equal(later, (counts.at(-1) ?? 0) + 2);
    } finally {
      memory.close();
    }
  });

  it('gives the memory of buffers and objects back to the system', async function () {
    this.timeout(20_000);
    // Small pieces with something kept between them: the C library gives none of them back by itself.
    let pieces: Buffer[] = [];
    const kept: Buffer[] = [];
    for (let index = 0; index < 20_000; index++) {
      pieces.push(Buffer.alloc(10_000, 1));
      if (index % 100 === 0) kept.push(Buffer.alloc(10_000, 1));
    }
    const memory = new MemoryRelease({ isIdle: () => true });
    const before = process.memoryUsage.rss();
    pieces = [];
    memory.check();
    memory.check();
    const until = performance.now() + 10_000;
    while (process.memoryUsage.rss() > before - 120 * MIB && performance.now() < until) await sleep(20);
    memory.close();
    const given = before - process.memoryUsage.rss();
    assert.ok(given > 120 * MIB, `${(given / MIB).toFixed(0)} of 190 MiB were given back`);
    assert.equal(kept.length, 200);
    assert.equal(pieces.length, 0);
  });
});
