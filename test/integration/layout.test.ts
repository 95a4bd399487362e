import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'mocha';
import { pino } from 'pino';
import type { Bundle } from '../../src/bundle/bundle.js';
import { EnginePool, type EnginePoolOptions } from '../../src/pool/engine-pool.js';
import { type LayoutTimes, prefersOneSession } from '../../src/pool/thread-layout.js';
import { goldenError, poolModelOf } from '../support/pool-suite.js';
import { writeSmallBundle } from '../support/small-bundle.js';

const KEY = 'small@1';
const cores = availableParallelism();

describe('how an engine uses the cores', function () {
  this.timeout(60_000);
  let folder: string;
  let bundle: Bundle;

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'salad-layout-'));
    bundle = await writeSmallBundle(folder);
  });
  after(() => rm(folder, { recursive: true }));

  /** A pool that is closed again, with what it logged of its layout. */
  async function withPool<T>(
    options: Pick<EnginePoolOptions, 'workers' | 'sessionThreads'>,
    work: (pool: EnginePool, layouts: readonly (LayoutTimes & { readonly oneSession: boolean })[]) => T,
  ): Promise<Awaited<T>> {
    const lines: string[] = [];
    const logger = pino({}, { write: (line: string) => lines.push(line) });
    const models = [poolModelOf(KEY, bundle)];
    const pool = await EnginePool.start({ engine: 'onnx', maxBatchSize: 0, models, logger, ...options });
    try {
      const logged = lines.map((line) => JSON.parse(line));
      return await work(
        pool,
        logged.filter(({ msg }) => msg === 'layout of the cores'),
      );
    } finally {
      await pool.close();
    }
  }

  it('is measured both ways, and the clearly faster one serves', async () => {
    await withPool({ workers: 0, sessionThreads: 0 }, async (pool, layouts) => {
      if (cores === 1) return assert.deepEqual(layouts, []);
      const [times] = layouts;
      assert.equal(layouts.length, 1);
      assert.equal(times?.model, KEY);
      assert.ok(times.sessionsMsPerTile > 0 && times.oneSessionMsPerTile > 0);
      assert.equal(times.oneSession, prefersOneSession(times));
      assert.equal(pool.workerCount, times.oneSession ? 1 : cores);
      assert.match(pool.device, times.oneSession ? new RegExp(`${cores} threads`) : /1 thread,/);
      assert.ok((await goldenError(pool, KEY, bundle)) < 1e-5);
    });
  });

  it('is one session of all threads where that is asked for, with the same scores', async () => {
    const sessionThreads = Math.max(2, cores);
    await withPool({ workers: 0, sessionThreads }, async (pool, layouts) => {
      assert.deepEqual(layouts, []);
      assert.equal(pool.workerCount, 1);
      assert.match(pool.device, new RegExp(`${sessionThreads} threads`));
      assert.ok((await goldenError(pool, KEY, bundle)) < 1e-5);
    });
  });

  it('is left alone where the number of workers was chosen', async () => {
    await withPool({ workers: 2, sessionThreads: 0 }, (pool, layouts) => {
      assert.deepEqual(layouts, []);
      assert.equal(pool.workerCount, 2);
    });
  });

  it('takes one session only where it is clearly faster', () => {
    const times = (oneSessionMsPerTile: number) => ({
      model: KEY,
      sessionsMsPerTile: 1,
      oneSessionMsPerTile,
    });
    assert.deepEqual([0.3, 0.49, 0.51, 1, 2].map(times).map(prefersOneSession), [
      true,
      true,
      false,
      false,
      false,
    ]);
  });
});
