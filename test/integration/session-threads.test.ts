import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'mocha';
import type { Bundle } from '../../src/bundle/bundle.js';
import { EnginePool, type EnginePoolOptions } from '../../src/pool/engine-pool.js';
import { goldenError, poolModelOf } from '../support/pool-suite.js';
import { writeSmallBundle } from '../support/small-bundle.js';

const KEY = 'small@1';
const cores = availableParallelism();

describe('the threads of an engine', function () {
  this.timeout(60_000);
  let folder: string;
  let bundle: Bundle;

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'salad-threads-'));
    bundle = await writeSmallBundle(folder);
  });
  after(() => rm(folder, { recursive: true }));

  async function withPool(
    options: Pick<EnginePoolOptions, 'workers' | 'sessionThreads'>,
    work: (pool: EnginePool) => void,
  ): Promise<void> {
    const models = [poolModelOf(KEY, bundle)];
    const pool = await EnginePool.start({ engine: 'onnx', maxBatchSize: 0, models, ...options });
    try {
      work(pool);
      assert.ok((await goldenError(pool, KEY, bundle)) < 1e-5);
    } finally {
      await pool.close();
    }
  }

  it('are a session of one thread on every core where nothing is set', async () => {
    await withPool({ workers: 0, sessionThreads: 0 }, (pool) => {
      assert.equal(pool.workerCount, cores);
      assert.match(pool.device, /1 thread,/);
    });
  });

  it('are one session of all threads where that is asked for, with the same scores', async () => {
    const sessionThreads = Math.max(2, cores);
    await withPool({ workers: 0, sessionThreads }, (pool) => {
      assert.equal(pool.workerCount, 1);
      assert.match(pool.device, new RegExp(`${sessionThreads} threads`));
    });
  });

  it('are as many sessions as workers where their number was chosen', async () => {
    await withPool({ workers: 2, sessionThreads: 0 }, (pool) => assert.equal(pool.workerCount, 2));
  });
});
