/** Tests that an engine has to pass in the worker pool: its threads, and its restart after a thread dies. */
import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'mocha';
import type { Bundle } from '../../../src/bundle/bundle.js';
import { BATCHING_FIELDS } from '../../../src/config/sections/batching.js';
import { ENGINE_FIELDS } from '../../../src/config/sections/engine.js';
import { modelSizes } from '../../../src/engines/batch.js';
import type { EngineName } from '../../../src/engines/engine.js';
import { EnginePool, type PoolConfig, type PoolModel } from '../../../src/pool/engine-pool.js';
import { injectFault, workerEntry } from './faults.js';
import { writeSmallBundle } from './small-bundle.js';

const KEY = 'small@1';

/** Settings of a pool: the defaults of the configuration, but no standby engine, and these changes. */
export function poolConfig(changes: Partial<PoolConfig>): PoolConfig {
  const defaults = Object.entries({ ...ENGINE_FIELDS, ...BATCHING_FIELDS }).map(
    ([key, field]) => [key, field.default] as const,
  );
  return { ...(Object.fromEntries(defaults) as unknown as PoolConfig), engineStandbyDelayMs: 0, ...changes };
}

/** Scores the golden batch. @returns the largest difference to the golden scores */
export async function goldenError(pool: EnginePool, key: string, { golden }: Bundle): Promise<number> {
  const slot = pool.acquire();
  assert.ok(slot !== undefined);
  const view = slot.view(key);
  view.pixels.set(golden.pixels);
  view.positions.set(golden.positions);
  view.patches.scores.fill(-1);
  try {
    await pool.run(key, slot, golden.positions.length / 2);
    return Math.max(...golden.scores.map((score, at) => Math.abs(view.patches.scores[at]! - score)));
  } finally {
    pool.release(slot);
  }
}

/** A bundle as a model of a pool. */
export function poolModelOf(key: string, bundle: Bundle): PoolModel {
  const { geometry } = bundle;
  return {
    key,
    bundle,
    precision: 'float32',
    shape: { tilePixels: geometry.tilePixels, alignmentNumbers: 0, ...modelSizes(bundle) },
  };
}

/** @param workers threads that the engine uses where two are configured: an engine that owns its device uses one */
export function poolSuite(engine: EngineName, timeoutMs = 60_000, workers = 1): void {
  describe(`engine ${engine} in the pool`, function () {
    this.timeout(timeoutMs);
    let folder: string;
    let bundle: Bundle;
    let pool: EnginePool;

    before(async () => {
      folder = await mkdtemp(join(tmpdir(), 'salad-pool-'));
      bundle = await writeSmallBundle(folder);
      const models = [poolModelOf(KEY, bundle)];
      const config = poolConfig({ engine, workers: 2, maxBatchSize: 2, engineBackOffMs: 10 });
      pool = await EnginePool.start({ config, models, workerEntry });
    });
    after(async () => {
      await pool.close();
      await rm(folder, { recursive: true });
    });

    it(`runs on ${workers} of two workers`, async () => {
      assert.equal(pool.engine, engine);
      assert.equal(pool.workerCount, workers);
      assert.equal(pool.freeSlots, 2 * workers);
      assert.ok((await goldenError(pool, KEY, bundle)) < 1e-5);
    });

    it('is lost with its thread, and computes the same scores after it serves again', async () => {
      injectFault('exit');
      await assert.rejects(goldenError(pool, KEY, bundle), /an engine worker died/);
      assert.equal(pool.freeSlots, 0);
      await new Promise<void>((resolve) => {
        const check = () => pool.isServing && pool.engine === engine && resolve();
        pool.onChange(check);
        check();
      });
      assert.ok((await goldenError(pool, KEY, bundle)) < 1e-5);
    });
  });
}
