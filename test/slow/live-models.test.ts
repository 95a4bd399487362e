/** Models that are loaded and unloaded by calls while the server scores, through the port. */
import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, it } from 'mocha';
import type { Bundle } from '../../src/bundle/bundle.js';
import type { AnomalyScoringClient } from '../../src/gen/salad/v1/anomaly_scoring.js';
import type { RunningServer } from '../../src/server/server.js';
import { collectGarbage } from '../../src/util/collect-garbage.js';
import { injectFault, workerEntry } from '../support/engines/faults.js';
import { ENGINE_ERROR_MAX } from '../support/engines/rounding.js';
import { type SmallBundleOptions, writeSmallBundle } from '../support/engines/small-bundle.js';
import { eventually } from '../support/eventually.js';
import { CapturedLog } from '../support/measurements/captured-log.js';
import { runSalad } from '../support/programs/in-process-salad.js';
import {
  collect,
  connect,
  end,
  header,
  type Outcome,
  refusal,
  rows,
  stream,
} from '../support/protocol/grpc-client.js';
import { healthClient } from '../support/protocol/health-client.js';
import { registryClient } from '../support/protocol/registry-client.js';
import { SIDE, smallImage, startSmall } from '../support/servers/small-server.js';

const FAILED_PRECONDITION = 9;
const NOT_FOUND = 5;
/** Scores that differ from those of version 1. */
const OTHER = { width: 12, patchMedian: 0.4 } as const;
const half = SIDE / 2;

describe('models that change while the server scores', function () {
  this.timeout(60_000);
  let models: string;
  let log: CapturedLog;
  let server: RunningServer;
  let client: AnomalyScoringClient;
  let registry: ReturnType<typeof registryClient>;
  const image = smallImage(21);

  const start = async (flags: Readonly<Record<string, unknown>> = {}) => {
    log = new CapturedLog();
    const settings = { workers: 2, maxBatchSize: 4, admin: true, ...flags };
    server = await startSmall(models, settings, { workerEntry, logger: log.logger });
    client = connect(server.address);
    registry = registryClient(server.address);
  };
  const stop = async () => {
    registry.close();
    client.close();
    await server.stop(0);
  };
  const write = (options: SmallBundleOptions) => writeSmallBundle(models, options);
  const select = (version?: number) => ({ name: 'small', ...(version === undefined ? {} : { version }) });
  const score = (version?: number): Promise<Outcome> =>
    stream(client, [header({ model: select(version) }), rows(image, SIDE, 0, SIDE), end()]);
  /** Begins an acquisition; `finish` sends the rest. */
  const begin = async (version?: number) => {
    const call = client.streamAcquisition();
    const outcome = collect(call);
    const accepted = new Promise((resolve) => call.once('data', resolve));
    call.write({ payload: header({ model: select(version) }) });
    call.write({ payload: rows(image, SIDE, 0, half) });
    await Promise.race([accepted, outcome]);
    const finish = () => {
      call.write({ payload: rows(image, SIDE, half, SIDE) });
      call.write({ payload: end() });
      call.end();
      return outcome;
    };
    return { finish, cancel: () => call.cancel(), outcome };
  };
  /** The outcome names this bundle, and its scores are those of a server that has nothing else. */
  const assertOf = (outcome: Outcome, { manifest, sha256 }: Bundle, expected: Outcome) => {
    const { model } = outcome.aggregate;
    assert.deepEqual([model?.version, model?.bundleSha256], [manifest.version, sha256]);
    assert.equal(outcome.patches.size, expected.patches.size);
    for (const [key, patch] of expected.patches) {
      const actual = outcome.patches.get(key)?.score ?? Number.NaN;
      assert.ok(Math.abs(actual - patch.score) <= ENGINE_ERROR_MAX, `patch ${key}`);
    }
  };
  /** The outcomes of versions 1 and 2 on a server that starts with both. */
  const outcomesFromTheStart = async () => {
    await start();
    const outcomes = await Promise.all([score(1), score(2)]);
    await stop();
    await rm(join(models, 'small', '2'), { recursive: true });
    return outcomes;
  };

  beforeEach(async () => {
    models = await mkdtemp(join(tmpdir(), 'salad-live-'));
  });
  afterEach(async () => {
    await stop();
    await rm(models, { recursive: true, force: true });
  });

  it('a loaded version serves new acquisitions; those that have begun end on theirs, and it is unloaded after them', async () => {
    const one = await write({ version: 1 });
    const two = await write({ version: 2, ...OTHER });
    const [expectedOne, expectedTwo] = await outcomesFromTheStart();
    assert.notEqual(expectedOne.aggregate.imageScore, expectedTwo.aggregate.imageScore);
    await start();
    // Of the bundle that the server started with.
    const manifestOfOne = new WeakRef(server.registry.find('small', 1).manifest);
    const watch = registry.watch();
    const begun = await Promise.all([begin(), begin(1), begin()]);
    await write({ version: 2, ...OTHER });
    const { model } = await registry.load('small');
    assert.deepEqual([model?.identity?.version, model?.identity?.bundleSha256], [2, two.sha256]);
    assertOf(await score(), two, expectedTwo);
    assertOf(await score(1), one, expectedOne);
    assertOf(await begun[0]!.finish(), one, expectedOne);

    const { models: unloading } = await registry.unload('small', 1);
    assert.deepEqual(
      unloading.map(({ bundleSha256 }) => bundleSha256),
      [one.sha256],
    );
    assert.deepEqual(await registry.states(), ['small@1 unloading', 'small@2 serving*']);
    assert.equal((await refusal(score(1))).reason, 'MODEL_NOT_FOUND');
    assertOf(await score(), two, expectedTwo);
    assert.notEqual(server.registry.pool.modelStatus('small@1'), undefined, 'unloaded while it is used');
    // A client that leaves releases the version as one that finishes.
    begun[1]!.cancel();
    await assert.rejects(begun[1]!.outcome);
    assertOf(await begun[2]!.finish(), one, expectedOne);
    await log.line(/^model unloaded$/);
    assert.equal(server.registry.pool.modelStatus('small@1'), undefined);
    assertOf(await score(), two, expectedTwo);
    await eventually(() => {
      collectGarbage();
      assert.ok(manifestOfOne.deref() === undefined, 'something still refers to the bundle');
    });

    await eventually(() => assert.deepEqual(watch.states.at(-1), ['small@2 serving*']));
    assert.deepEqual(watch.states, [
      ['small@1 serving*'],
      ['small@1 serving*', 'small@2 loading'],
      ['small@1 serving', 'small@2 serving*'],
      ['small@1 unloading', 'small@2 serving*'],
      ['small@2 serving*'],
    ]);
    watch.cancel();
  });

  it('a version that cannot be served is refused with its reason and disturbs nothing', async () => {
    const one = await write({ version: 1 });
    await start();
    const expected = await score();
    const begun = await begin();
    await write({ version: 2, goldenError: 0.01 });
    const { directory } = await write({ version: 3 });
    await writeFile(join(directory, 'MODEL_CARD.md'), 'another card of other size');
    await write({ version: 4 });
    for (const version of [2, 3, 4]) {
      // The last ends the thread in which it is tried.
      if (version === 4) injectFault('exit');
      const load = registry.load('small', version);
      const { code, reason } = await refusal(load);
      assert.deepEqual([code, reason], [FAILED_PRECONDITION, 'BUNDLE_INVALID']);
      await assert.rejects(load, new RegExp(`small@${version}`));
    }
    assert.equal(log.lines.filter(({ msg }) => msg === 'a model bundle was refused').length, 3);
    const states = await registry.states();
    assert.equal(states[0], 'small@1 serving*');
    assert.match(states[1]!, /^small@2 refused: .*golden scores differ/);
    assert.match(states[2]!, /^small@3 refused: .*MODEL_CARD\.md has 26 bytes/);
    assert.match(states[3]!, /^small@4 refused: .*an engine worker died/);
    assertOf(await begun.finish(), one, expected);
    assertOf(await score(), one, expected);
    assert.deepEqual(server.registry.pool.failovers.losses, { died: 0, failed: 0, hung: 0 });
    // A correct bundle in the place of a refused one is loaded.
    await rm(join(models, 'small', '2'), { recursive: true });
    const two = await write({ version: 2, ...OTHER });
    await registry.load('small', 2);
    assert.equal((await score()).aggregate.model?.bundleSha256, two.sha256);
  });

  it('a standby and an engine that is started later have the versions that are loaded; answers name their bundles', async () => {
    const one = await write({ version: 1 });
    await start({ engineStandbyDelayMs: 1, engineBackOffMs: 600_000 });
    await eventually(() => assert.equal(server.registry.pool.standbyEngine, 'wasm'));
    const two = await write({ version: 2, ...OTHER });
    await registry.load('small', 2);
    const expected = [await score(1), await score(2)];
    const begun = await Promise.all([begin(1), begin(2)]);
    injectFault('exit');
    const outcomes = await Promise.all(begun.map(({ finish }) => finish()));
    assertOf(outcomes[0]!, one, expected[0]!);
    assertOf(outcomes[1]!, two, expected[1]!);
    assert.equal(server.registry.engine, 'wasm');
    // What is unloaded now must not come back with the next engine.
    await registry.unload('small', 1);
    await log.line(/^model unloaded$/);
    injectFault('exit');
    assertOf(await score(), two, expected[1]!);
    assert.equal(server.registry.pool.modelStatus('small@1'), undefined);
    assert.deepEqual(await registry.states(), ['small@2 serving*']);
  });

  it('a model with larger tiles than those of the start is loaded, and unloaded with its slots', async () => {
    await write({ version: 1 });
    await start();
    const four = await write({ name: 'strips', version: 1, coresPerTile: 4 });
    await registry.load('strips');
    const strips = { model: { name: 'strips' } };
    const outcomes = await Promise.all(
      [1, 2, 3].map(() => stream(client, [header(strips), rows(image, SIDE, 0, SIDE), end()])),
    );
    for (const { aggregate, patches } of outcomes) {
      assert.equal(aggregate.model?.bundleSha256, four.sha256);
      assert.equal(patches.size, 64);
    }
    await registry.unload('strips');
    await log.line(/^model unloaded$/);
    assert.equal((await score()).aggregate.model?.version, 1);
  });

  it('health follows each model, and a server never unloads its last', async () => {
    await write({ version: 1 });
    await write({ name: 'other', version: 4 });
    await start();
    const health = healthClient(server.address);
    const check = async (...names: string[]) =>
      Promise.all(names.map((name) => health.check(`salad.model.${name}`)));
    assert.deepEqual(await check('small', 'small@1', 'other'), ['SERVING', 'SERVING', 'SERVING']);
    await registry.unload('small');
    assert.deepEqual(await check('small', 'small@1', 'other'), ['NOT_SERVING', 'NOT_SERVING', 'SERVING']);
    assert.deepEqual(await refusal(registry.unload('other')).then(({ code, reason }) => [code, reason]), [
      FAILED_PRECONDITION,
      'LAST_MODEL',
    ]);
    await log.line(/^model unloaded$/);
    await registry.load('small', 1);
    assert.deepEqual(await check('small', 'small@1', 'other'), ['SERVING', 'SERVING', 'SERVING']);
    health.close();
  });

  it('a version keeps its content while it is loaded, and serves again where it was unloading', async () => {
    const one = await write({ version: 1 });
    await write({ version: 2 });
    await start();
    const begun = await begin(1);
    await registry.unload('small', 1);
    await registry.load('small', 1);
    assert.deepEqual(await registry.states(), ['small@1 serving', 'small@2 serving*']);
    await rm(one.directory, { recursive: true });
    await write({ version: 1, ...OTHER });
    assert.equal((await refusal(registry.load('small', 1))).reason, 'BUNDLE_INVALID');
    assert.equal((await begun.finish()).aggregate.model?.bundleSha256, one.sha256);
    assert.equal((await score(1)).aggregate.model?.bundleSha256, one.sha256);
    const missing = await refusal(registry.load('small', 7));
    assert.deepEqual([missing.code, missing.reason], [NOT_FOUND, 'MODEL_NOT_FOUND']);
  });

  it('salad models load, unload and list --target do so from the command line', async () => {
    await write({ version: 1 });
    await start();
    const two = await write({ version: 2 });
    const salad = (...args: string[]) => runSalad('models', ...args, '--target', server.address, '--json');
    const loaded = await salad('load', 'small');
    assert.deepEqual(loaded.lines, [{ model: 'small@2', sha256: two.sha256, target: server.address }]);
    assert.deepEqual((await salad('unload', 'small@1')).lines, [
      { models: ['small@1'], target: server.address },
    ]);
    await log.line(/^model unloaded$/);
    assert.deepEqual((await salad('list')).lines[0]!['models'], [
      {
        ...{ model: 'small@2', usable: true, state: 'serving', isDefault: true, acquisitions: 0 },
        sha256: two.sha256,
      },
    ]);
    const refused = await salad('unload', 'small');
    assert.deepEqual([refused.code, refused.lines[0]!['reason']], [1, 'LAST_MODEL']);
    assert.equal((await runSalad('models', 'load', 'small')).code, 2);
    assert.equal((await salad('load', 'small/2')).code, 2);
  });

  it('calls that change models need the setting admin', async () => {
    await write({ version: 1 });
    await start({ admin: false });
    assert.equal((await refusal(registry.load('small'))).reason, 'ADMIN_DISABLED');
    assert.equal((await refusal(registry.unload('small'))).reason, 'ADMIN_DISABLED');
    const { ended } = registry.watch();
    assert.equal((await refusal(ended.then((error) => Promise.reject(error)))).reason, 'ADMIN_DISABLED');
    assert.deepEqual(await registry.states(), ['small@1 serving*']);
  });
});
