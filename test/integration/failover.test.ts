/** Engines that are lost in the middle of acquisitions: nobody outside may lose anything by it. */
import assert from 'node:assert/strict';
import { after, afterEach, before, beforeEach, describe, it } from 'mocha';
import type { AnomalyScoringClient } from '../../src/gen/salad/v1/anomaly_scoring.js';
import { WarningKind } from '../../src/gen/salad/v1/types.js';
import type { LossKind } from '../../src/pool/messages.js';
import type { RunningServer } from '../../src/server/server.js';
import { type FaultKind, injectFault, workerEntry } from '../support/faults.js';
import { collect, connect, end, header, type Outcome, rows, stream } from '../support/grpc-client.js';
import { healthClient } from '../support/health-client.js';
import { type ModelsFolder, SIDE, smallImage, smallModels, startSmall } from '../support/small-server.js';

const PATCHES = 64;
const BACK_OFF_MS = 1500;

const images = Array.from({ length: 6 }, (_, seed) => smallImage(900 + seed));
const half = SIDE / 2;

/** Resolves when the first scores have come, so that what follows happens in the middle. */
function startHalf(client: AnomalyScoringClient, image: Uint8Array) {
  const call = client.streamAcquisition();
  const outcome = collect(call);
  const begun = new Promise<void>((resolve) => {
    call.on('data', ({ payload }) => payload?.$case === 'patchScores' && resolve());
  });
  call.write({ payload: header() });
  call.write({ payload: rows(image, SIDE, 0, half) });
  return { call, outcome, begun: Promise.race([begun, outcome]) };
}

function finish({ call }: ReturnType<typeof startHalf>, image: Uint8Array): void {
  call.write({ payload: rows(image, SIDE, half, SIDE) });
  call.write({ payload: end() });
  call.end();
}

const whole = (client: AnomalyScoringClient, image: Uint8Array) =>
  stream(client, [header(), rows(image, SIDE, 0, SIDE), end()]);

function warnings({ aggregate }: Outcome): readonly string[] {
  return aggregate.warnings
    .filter(({ kind }) => kind === WarningKind.WARNING_KIND_ENGINE_FAILOVER)
    .map(({ message }) => message);
}

/** Every patch once (`collect` refuses twice), none failed, and the same scores. */
function assertSame(outcome: Outcome, undisturbed: Outcome): void {
  const { coverage, imageScore, decision } = outcome.aggregate;
  assert.deepEqual([coverage?.scored, coverage?.failed, coverage?.missing], [PATCHES, 0, 0]);
  assert.equal(outcome.patches.size, PATCHES);
  for (const [key, { score }] of undisturbed.patches) {
    const got = outcome.patches.get(key)?.score ?? Number.NaN;
    assert.ok(Math.abs(got - score) <= 1e-4, `patch ${key}: ${got} is not ${score}`);
  }
  assert.ok(Math.abs(imageScore - undisturbed.aggregate.imageScore) <= 1e-2);
  assert.equal(decision, undisturbed.aggregate.decision);
}

async function until(condition: () => boolean, what: string): Promise<void> {
  for (let tries = 0; tries < 1500 && !condition(); tries++)
    await new Promise((next) => setTimeout(next, 10));
  assert.ok(condition(), what);
}

describe('fail-over through the port', function () {
  this.timeout(60_000);
  let models: ModelsFolder;
  let server: RunningServer;
  let client: AnomalyScoringClient;
  let undisturbed: readonly Outcome[];

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

  before(async () => {
    models = await smallModels();
  });
  after(() => models.remove());
  beforeEach(async () => {
    await start({ engineWatchdogMs: 400 });
    undisturbed = await Promise.all(images.map((image) => whole(client, image)));
    for (const outcome of undisturbed) assert.deepEqual(warnings(outcome), []);
  });
  afterEach(async () => {
    client.close();
    await server.stop(0);
  });

  const faults: readonly [string, FaultKind, LossKind][] = [
    ['loses its device', 'lose', 'failed'],
    ['takes its thread along', 'exit', 'died'],
    ['hangs', 'hang', 'hung'],
  ];
  for (const [what, fault, loss] of faults) {
    it(`the next engine takes over where one ${what}, and the better one comes back`, async () => {
      const { pool } = server.registry;
      const health = healthClient(server.address);
      const started = images.map((image) => startHalf(client, image));
      await Promise.all(started.map(({ begun }) => begun));
      injectFault(fault);
      for (const [index, acquisition] of started.entries()) finish(acquisition, images[index]!);
      const outcomes = await Promise.all(started.map(({ outcome }) => outcome));
      for (const [index, outcome] of outcomes.entries()) assertSame(outcome, undisturbed[index]!);
      const touched = outcomes.filter(({ aggregate }) => aggregate.engines.includes('wasm'));
      assert.ok(touched.length > 0);
      for (const outcome of outcomes) {
        const expected = touched.includes(outcome) ? ['onnx', 'wasm'] : ['onnx'];
        assert.deepEqual(outcome.aggregate.engines, expected);
        assert.equal(warnings(outcome).length, touched.includes(outcome) ? 1 : 0);
      }
      assert.match(warnings(touched[0]!)[0]!, /Engine onnx failed; wasm scored in its place/);
      assert.equal(server.registry.engine, 'wasm');
      assert.equal(pool.failovers.losses[loss], 1);

      assert.equal(await health.check('salad.engine.onnx'), 'NOT_SERVING');
      assert.equal(await health.check('salad.engine.wasm'), 'SERVING');
      assert.equal(await health.check(''), 'SERVING');

      const later = await whole(client, images[0]!);
      assertSame(later, undisturbed[0]!);
      assert.deepEqual(warnings(later), []);

      await until(() => server.registry.engine === 'onnx', 'onnx comes back');
      assert.equal(pool.failovers.failbacks, 1);
      assert.equal(await health.check('salad.engine.onnx'), 'SERVING');
      assert.equal(await health.check('salad.engine.wasm'), 'NOT_SERVING');
      const again = await whole(client, images[0]!);
      assertSame(again, undisturbed[0]!);
      assert.deepEqual([again.aggregate.engines, warnings(again)], [['onnx'], []]);
      health.close();
    });
  }

  it('loses no moment where an engine stands by, and keeps it ready', async () => {
    await restart({ engineStandbyDelayMs: 1 });
    const { pool } = server.registry;
    await until(() => pool.standbyEngine === 'wasm', 'wasm stands by');
    const served: [string, boolean][] = [];
    pool.onChange(() => served.push([pool.engine, pool.isServing]));
    injectFault('exit');
    const outcomes = await Promise.all(images.map((image) => whole(client, image)));
    for (const [index, outcome] of outcomes.entries()) assertSame(outcome, undisturbed[index]!);
    await until(() => server.registry.engine === 'onnx', 'onnx comes back');
    assert.deepEqual(served, [
      ['wasm', true],
      ['onnx', true],
    ]);
    assert.equal(pool.standbyEngine, 'wasm');
  });

  it('tries a batch again on the same engine where the engine is sound', async () => {
    const { pool } = server.registry;
    injectFault('throw');
    const outcomes = await Promise.all(images.map((image) => whole(client, image)));
    outcomes.forEach((outcome, index) => {
      assertSame(outcome, undisturbed[index]!);
      assert.deepEqual([outcome.aggregate.engines, warnings(outcome)], [['onnx'], []]);
    });
    assert.deepEqual(pool.failovers, { losses: { died: 0, failed: 0, hung: 0 }, failbacks: 0 });
  });

  it('keeps every tile where two engines are lost in a row', async () => {
    await restart({ workers: 1, maxBatchSize: 1 });
    const { pool } = server.registry;
    injectFault('exit');
    // The engine that takes over meets the next fault in its first batch, which is of the tile that was lost before.
    pool.onChange(() => {
      if (pool.isServing && pool.failovers.losses.died < 2) injectFault('exit');
    });
    assertSame(await whole(client, images[0]!), undisturbed[0]!);
    assert.equal(pool.failovers.losses.died, 2);
  });

  it('starts at the top again where the last engine of the ladder is lost', async () => {
    const { pool } = server.registry;
    injectFault('exit');
    assertSame(await whole(client, images[0]!), undisturbed[0]!);
    assert.equal(server.registry.engine, 'wasm');
    injectFault('exit');
    assertSame(await whole(client, images[1]!), undisturbed[1]!);
    assert.equal(server.registry.engine, 'onnx');
    assert.equal(pool.failovers.losses.died, 2);
  });
});
