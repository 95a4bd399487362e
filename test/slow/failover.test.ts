/** Engines that are lost in the middle of acquisitions: every acquisition must still complete with the same scores. */
import assert from 'node:assert/strict';
import { after, afterEach, before, beforeEach, describe, it } from 'mocha';
import type { AnomalyScoringClient } from '../../src/gen/salad/v1/anomaly_scoring.js';
import { WarningKind } from '../../src/gen/salad/v1/types.js';
import type { LossKind } from '../../src/pool/messages.js';
import type { RunningServer } from '../../src/server/server.js';
import { type FaultKind, injectFault, workerEntry } from '../support/engines/faults.js';
import { ENGINE_ERROR_MAX, imageScoreErrorMax } from '../support/engines/rounding.js';
import {
  collect,
  connect,
  end,
  header,
  type Outcome,
  rows,
  stream,
} from '../support/protocol/grpc-client.js';
import { healthClient } from '../support/protocol/health-client.js';
import {
  type ModelsFolder,
  SIDE,
  smallImage,
  smallModels,
  startSmall,
} from '../support/servers/small-server.js';

const PATCHES = 64;
const BACK_OFF_MS = 1500;

const images = Array.from({ length: 6 }, (_, seed) => smallImage(900 + seed));
const half = SIDE / 2;

/** Sends the upper half of the image. `firstScores` resolves in the middle of the acquisition. */
function sendUpperHalf(client: AnomalyScoringClient, image: Uint8Array) {
  const call = client.streamAcquisition();
  const outcome = collect(call);
  const firstScores = new Promise<void>((resolve) => {
    call.on('data', ({ payload }) => payload?.$case === 'patchScores' && resolve());
  });
  call.write({ payload: header() });
  call.write({ payload: rows(image, SIDE, 0, half) });
  return { call, outcome, firstScores: Promise.race([firstScores, outcome]) };
}

function sendLowerHalf({ call }: ReturnType<typeof sendUpperHalf>, image: Uint8Array): void {
  call.write({ payload: rows(image, SIDE, half, SIDE) });
  call.write({ payload: end() });
  call.end();
}

const score = (client: AnomalyScoringClient, image: Uint8Array) =>
  stream(client, [header(), rows(image, SIDE, 0, SIDE), end()]);

function failoverWarnings({ aggregate }: Outcome): readonly string[] {
  return aggregate.warnings
    .filter(({ kind }) => kind === WarningKind.WARNING_KIND_ENGINE_FAILOVER)
    .map(({ message }) => message);
}

async function until(condition: () => boolean, message: string): Promise<void> {
  for (let attempt = 0; attempt < 1500 && !condition(); attempt++)
    await new Promise((next) => setTimeout(next, 10));
  assert.ok(condition(), message);
}

describe('fail-over through the port', function () {
  this.timeout(60_000);
  let models: ModelsFolder;
  let server: RunningServer;
  let client: AnomalyScoringClient;
  /** The outcomes without a fault, by image. */
  let expected: readonly Outcome[];

  const start = async (flags: Readonly<Record<string, unknown>>) => {
    const settings = { workers: 2, maxBatchSize: 4, engineBackOffMs: BACK_OFF_MS, ...flags };
    server = await startSmall(models.path, settings, { workerEntry });
    client = connect(server.address);
  };
  const restart = async (flags: Readonly<Record<string, unknown>>) => {
    client.close();
    await server.stop(0);
    await start(flags);
  };

  /**
   * Every patch is scored once (`collect` rejects duplicates), none failed, and the scores are those without a fault.
   */
  const assertComplete = (outcome: Outcome, image: number) => {
    const { patches, aggregate } = expected[image]!;
    const { coverage, imageScore, decision } = outcome.aggregate;
    assert.deepEqual([coverage?.scored, coverage?.failed, coverage?.missing], [PATCHES, 0, 0]);
    assert.equal(outcome.patches.size, PATCHES);
    for (const [key, { score }] of patches) {
      const actual = outcome.patches.get(key)?.score ?? Number.NaN;
      assert.ok(Math.abs(actual - score) <= ENGINE_ERROR_MAX, `patch ${key}: ${actual} is not ${score}`);
    }
    const { calibration } = server.registry.find('small').manifest;
    const errorMax = imageScoreErrorMax(calibration, ENGINE_ERROR_MAX);
    const difference = Math.abs(imageScore - aggregate.imageScore);
    assert.ok(difference <= errorMax, `image scores differ by ${difference}, more than ${errorMax}`);
    assert.equal(decision, aggregate.decision);
  };

  before(async () => {
    models = await smallModels();
  });
  after(() => models.remove());
  beforeEach(async () => {
    await start({ engineWatchdogMs: 400 });
    expected = await Promise.all(images.map((image) => score(client, image)));
    for (const outcome of expected) assert.deepEqual(failoverWarnings(outcome), []);
  });
  afterEach(async () => {
    client.close();
    await server.stop(0);
  });

  const faults: readonly [string, FaultKind, LossKind][] = [
    ['loses its device', 'lose', 'failed'],
    ['ends its thread', 'exit', 'died'],
    ['hangs', 'hang', 'hung'],
  ];
  for (const [event, fault, loss] of faults) {
    it(`the next engine takes over where one ${event}, and the better engine serves again later`, async () => {
      const { pool } = server.registry;
      const health = healthClient(server.address);
      const started = images.map((image) => sendUpperHalf(client, image));
      await Promise.all(started.map(({ firstScores }) => firstScores));
      injectFault(fault);
      for (const [index, acquisition] of started.entries()) sendLowerHalf(acquisition, images[index]!);
      const outcomes = await Promise.all(started.map(({ outcome }) => outcome));
      outcomes.forEach(assertComplete);
      const switched = outcomes.filter(({ aggregate }) => aggregate.engines.includes('wasm'));
      assert.ok(switched.length > 0);
      for (const outcome of outcomes) {
        const engines = switched.includes(outcome) ? ['onnx', 'wasm'] : ['onnx'];
        assert.deepEqual(outcome.aggregate.engines, engines);
        assert.equal(failoverWarnings(outcome).length, switched.includes(outcome) ? 1 : 0);
      }
      assert.match(failoverWarnings(switched[0]!)[0]!, /Engine onnx failed; wasm scored instead/);
      assert.equal(server.registry.engine, 'wasm');
      assert.equal(pool.failovers.losses[loss], 1);

      assert.equal(await health.check('salad.engine.onnx'), 'NOT_SERVING');
      assert.equal(await health.check('salad.engine.wasm'), 'SERVING');
      assert.equal(await health.check(''), 'SERVING');

      const afterFailover = await score(client, images[0]!);
      assertComplete(afterFailover, 0);
      assert.deepEqual(failoverWarnings(afterFailover), []);

      await until(() => server.registry.engine === 'onnx', 'onnx does not serve again');
      assert.equal(pool.failovers.failbacks, 1);
      assert.equal(await health.check('salad.engine.onnx'), 'SERVING');
      assert.equal(await health.check('salad.engine.wasm'), 'NOT_SERVING');
      const afterFailback = await score(client, images[0]!);
      assertComplete(afterFailback, 0);
      assert.deepEqual([afterFailback.aggregate.engines, failoverWarnings(afterFailback)], [['onnx'], []]);
      health.close();
    });
  }

  it('a standby takes over at once, and is the standby again after the failback', async () => {
    await restart({ engineStandbyDelayMs: 1 });
    const { pool } = server.registry;
    await until(() => pool.standbyEngine === 'wasm', 'wasm is not on standby');
    const served: [string, boolean][] = [];
    pool.onChange(() => served.push([pool.engine, pool.isServing]));
    injectFault('exit');
    const outcomes = await Promise.all(images.map((image) => score(client, image)));
    outcomes.forEach(assertComplete);
    await until(() => server.registry.engine === 'onnx', 'onnx does not serve again');
    assert.deepEqual(served, [
      ['wasm', true],
      ['onnx', true],
    ]);
    assert.equal(pool.standbyEngine, 'wasm');
  });

  it('a failed batch is tried again on the same engine where the engine passes its golden check', async () => {
    const { pool } = server.registry;
    injectFault('throw');
    const outcomes = await Promise.all(images.map((image) => score(client, image)));
    outcomes.forEach((outcome, image) => {
      assertComplete(outcome, image);
      assert.deepEqual([outcome.aggregate.engines, failoverWarnings(outcome)], [['onnx'], []]);
    });
    assert.deepEqual(pool.failovers, { losses: { died: 0, failed: 0, hung: 0 }, failbacks: 0 });
  });

  it('every tile is scored where two engines are lost in a row', async () => {
    await restart({ workers: 1, maxBatchSize: 1 });
    const { pool } = server.registry;
    injectFault('exit');
    // The engine that takes over fails in its first batch, which holds the tile of the first loss.
    pool.onChange(() => {
      if (pool.isServing && pool.failovers.losses.died < 2) injectFault('exit');
    });
    assertComplete(await score(client, images[0]!), 0);
    assert.equal(pool.failovers.losses.died, 2);
  });

  it('the fallback order is tried from its start where the last engine is lost', async () => {
    const { pool } = server.registry;
    injectFault('exit');
    assertComplete(await score(client, images[0]!), 0);
    assert.equal(server.registry.engine, 'wasm');
    injectFault('exit');
    assertComplete(await score(client, images[1]!), 1);
    assert.equal(server.registry.engine, 'onnx');
    assert.equal(pool.failovers.losses.died, 2);
  });
});
