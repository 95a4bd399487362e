import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, before, describe, it } from 'mocha';
import { readBundle } from '../../src/bundle/bundle.js';
import { Priority } from '../../src/gen/salad/v1/types.js';
import { EnginePool } from '../../src/pool/engine-pool.js';
import { startWorkerSet } from '../../src/pool/start-worker-set.js';
import type { RunningServer } from '../../src/server/server.js';
import { poolConfig, poolModelOf } from '../support/engines/pool-suite.js';
import { connect, end, header, rows, stream } from '../support/protocol/grpc-client.js';
import { image } from '../support/servers/serving.js';
import { type ModelsFolder, smallModels, startSmall } from '../support/servers/small-server.js';

const ROUTINE = 60;

describe('urgent batches in the pool', () => {
  it('go before those that wait in a worker, in a slot that no other gets', async () => {
    const models = await smallModels();
    const key = 'small@1';
    const count = 256;
    const bundle = await readBundle(join(models.path, 'small', '1'));
    const config = poolConfig({ engine: 'onnx', workers: 1, maxBatchSize: count });
    const pool = await EnginePool.start({ config, models: [poolModelOf(key, bundle)] });
    const order: string[] = [];
    const run = async (name: string, urgent: boolean) => {
      const slot = pool.acquire(urgent);
      assert.ok(slot !== undefined);
      await pool.run(key, slot, count, urgent);
      pool.release(slot);
      order.push(name);
    };
    const routine = [run('first', false), run('second', false)];
    assert.equal(pool.acquire(), undefined);
    await Promise.all([...routine, run('urgent', true)]);
    // The first may have begun by then.
    assert.ok(order.indexOf('urgent') < order.indexOf('second'), order.join(', '));
    assert.deepEqual([pool.freeSlots, pool.freeUrgentSlots], [2, 1]);
    await pool.close();
    await models.remove();
  });

  it('pass between the pieces of a batch that runs', async () => {
    const models = await smallModels();
    const key = 'small@1';
    const count = 256;
    const bundle = await readBundle(join(models.path, 'small', '1'));
    const config = poolConfig({ workers: 1, maxBatchSize: count, engineWatchdogMs: 60_000 });
    const options = { config, models: [poolModelOf(key, bundle)] };
    const status = {
      pieceSize: 1,
      maxBatchSize: count,
      curve: [{ batchSize: 1, latencyMs: 1 }],
      search: '',
      precision: 'float32',
    } as const;
    const set = await startWorkerSet(options, {
      engines: ['onnx'],
      preference: 'onnx',
      requireAll: true,
      warmUpMs: 0,
      measured: new Map([[key, status]]),
      onError: assert.ifError,
    });
    const order: string[] = [];
    const run = async (name: string, tiles: number, urgent: boolean) => {
      const ms = await set.run(key, set.acquire(urgent)!, tiles, urgent);
      order.push(name);
      return ms;
    };
    const first = run('first', count, false);
    const second = run('second', count, false);
    const urgent = await run('urgent', 1, true);
    assert.deepEqual(order, ['urgent']);
    // What passes is not counted as the batch's own time.
    assert.ok(urgent > 0 && (await first) > urgent);
    await second;
    assert.deepEqual(order, ['urgent', 'first', 'second']);
    await set.close();
    await models.remove();
  });
});

describe('priority through the port', () => {
  let models: ModelsFolder;
  let server: RunningServer;
  before(async () => {
    models = await smallModels();
    // One tile a batch on one thread: a queue forms whatever the processor.
    server = await startSmall(models.path, { maxBatchSize: 1 });
  });
  after(async () => {
    await server.stop(0);
    await models.remove();
  });

  it('serves an urgent acquisition before earlier ones that are not urgent', async () => {
    const client = connect(server.address);
    const done: string[] = [];
    const score = async (acquisitionId: string, priority: Priority) => {
      const outcome = await stream(client, [
        header({ acquisitionId, priority }),
        rows(image, 64, 0, 64),
        end(),
      ]);
      done.push(acquisitionId);
      return outcome;
    };
    const before = Array.from({ length: ROUTINE }, (_, at) =>
      score(`routine-${at}`, Priority.PRIORITY_ROUTINE),
    );
    const urgent = await score('urgent', Priority.PRIORITY_STAT);
    const outcomes = await Promise.all(before);
    client.close();
    const passed = ROUTINE - done.indexOf('urgent');
    assert.ok(passed > ROUTINE / 2, `it passed ${passed} of ${ROUTINE}`);
    // Nobody lost anything for it, and all have the same scores.
    for (const { patches } of outcomes) {
      assert.equal(patches.size, 64);
      for (const [key, { score }] of patches) {
        assert.ok(Math.abs(score - urgent.patches.get(key)!.score) < 1e-6);
      }
    }
  });
});
