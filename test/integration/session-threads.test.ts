import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'mocha';
import type { Bundle } from '../../src/bundle/bundle.js';
import { EnginePool, type PoolConfig } from '../../src/pool/engine-pool.js';
import { goldenError, poolConfig, poolModelOf } from '../support/engines/pool-suite.js';
import { writeSmallBundle } from '../support/engines/small-bundle.js';

const KEY = 'small@1';
const cores = availableParallelism();

describe('the sessions of an engine', function () {
  this.timeout(60_000);
  let folder: string;
  let bundle: Bundle;

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'salad-threads-'));
    bundle = await writeSmallBundle(folder);
  });
  after(() => rm(folder, { recursive: true }));

  async function withPool(changes: Partial<PoolConfig>, check: (pool: EnginePool) => void): Promise<void> {
    const models = [poolModelOf(KEY, bundle)];
    const pool = await EnginePool.start({ config: poolConfig({ engine: 'onnx', ...changes }), models });
    try {
      check(pool);
      assert.ok((await goldenError(pool, KEY, bundle)) < 1e-5);
    } finally {
      await pool.close();
    }
  }

  it('have one thread each, one session for every core, by default', async () => {
    await withPool({ workers: 0, sessionThreads: 0 }, (pool) => {
      assert.equal(pool.workerCount, cores);
      assert.match(pool.device, /1 thread,/);
    });
  });

  it('are one session with all threads where sessionThreads is the number of cores', async () => {
    const sessionThreads = Math.max(2, cores);
    await withPool({ workers: 0, sessionThreads }, (pool) => {
      assert.equal(pool.workerCount, 1);
      assert.match(pool.device, new RegExp(`${sessionThreads} threads`));
    });
  });

  it('are as many as workers where workers is set', async () => {
    await withPool({ workers: 2, sessionThreads: 0 }, (pool) => assert.equal(pool.workerCount, 2));
  });
});
