/** Which bundles a server serves, and that every answer comes from the bundle whose hash it names. */
import assert from 'node:assert/strict';
import { cp, mkdtemp, readdir, rename, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, it } from 'mocha';
import { pino } from 'pino';
import type { Bundle } from '../../src/bundle/bundle.js';
import type { AnomalyScoringClient } from '../../src/gen/salad/v1/anomaly_scoring.js';
import { EnginePool } from '../../src/pool/engine-pool.js';
import type { RunningServer } from '../../src/server/server.js';
import { injectFault, workerEntry } from '../support/engines/faults.js';
import { goldenError, poolConfig, poolModelOf } from '../support/engines/pool-suite.js';
import { ENGINE_ERROR_MAX, imageScoreErrorMax } from '../support/engines/rounding.js';
import { writeSmallBundle } from '../support/engines/small-bundle.js';
import { connect, end, header, type Outcome, rows, stream } from '../support/protocol/grpc-client.js';
import { SIDE, smallImage, startSmall } from '../support/servers/small-server.js';

interface LogLine {
  readonly level: number;
  readonly msg: string;
  readonly directory?: string;
  readonly model?: string;
  readonly [field: string]: unknown;
}
/** Levels of pino. */
const ERROR = 50;
const WARNING = 40;

describe('the bundles of a server', function () {
  this.timeout(60_000);
  let models: string;
  let log: LogLine[];
  let server: RunningServer | undefined;
  let client: AnomalyScoringClient;
  const small = (...path: string[]) => join(models, 'small', ...path);

  const start = async (folder: string, flags: Readonly<Record<string, unknown>> = {}) => {
    log = [];
    const logger = pino({}, { write: (line: string) => log.push(JSON.parse(line) as LogLine) });
    server = await startSmall(folder, { workers: 2, maxBatchSize: 4, ...flags }, { workerEntry, logger });
    client = connect(server.address);
    return server;
  };
  const stop = async () => {
    client?.close();
    await server?.stop(0);
    server = undefined;
  };
  const score = (image: Uint8Array, version?: number): Promise<Outcome> => {
    const model = { name: 'small', ...(version === undefined ? {} : { version }) };
    return stream(client, [header({ model }), rows(image, SIDE, 0, SIDE), end()]);
  };
  /** The outcomes of a server that has only this bundle. */
  const outcomesOf = async (
    { directory, manifest }: Bundle,
    images: readonly Uint8Array[],
  ): Promise<Outcome[]> => {
    const folder = await mkdtemp(join(tmpdir(), 'salad-single-'));
    await cp(directory, join(folder, 'small', String(manifest.version)), { recursive: true });
    await start(folder);
    const outcomes = await Promise.all(images.map((image) => score(image)));
    await stop();
    await rm(folder, { recursive: true });
    return outcomes;
  };
  const assertSame = (outcome: Outcome, expected: Outcome) => {
    assert.equal(outcome.patches.size, expected.patches.size);
    for (const [key, patch] of expected.patches) {
      const actual = outcome.patches.get(key)?.score ?? Number.NaN;
      assert.ok(Math.abs(actual - patch.score) <= ENGINE_ERROR_MAX, `patch ${key}`);
    }
    const { model, imageScore, pValue, threshold } = outcome.aggregate;
    assert.deepEqual(model, expected.aggregate.model);
    const { calibration } = server!.registry.find(model!.name, model!.version).manifest;
    const errorMax = imageScoreErrorMax(calibration, ENGINE_ERROR_MAX);
    const difference = Math.abs(imageScore - expected.aggregate.imageScore);
    assert.ok(difference <= errorMax, `image scores differ by ${difference}, more than ${errorMax}`);
    assert.deepEqual([pValue, threshold], [expected.aggregate.pValue, expected.aggregate.threshold]);
  };

  beforeEach(async () => {
    models = await mkdtemp(join(tmpdir(), 'salad-bundles-'));
  });
  afterEach(async () => {
    await stop();
    await rm(models, { recursive: true, force: true });
  });

  it('are served without other bundles of the same name and version, which the log names', async () => {
    const image = smallImage(3);
    const [expected] = await outcomesOf(await writeSmallBundle(models), [image]);
    const others = await mkdtemp(join(tmpdir(), 'salad-others-'));
    await writeSmallBundle(others, { width: 12, patchMedian: 0.4 });
    const copies = ['.1-x7Yz3q.old', '01', '1.bak', '1.old', '2'];
    for (const copy of copies) await cp(join(others, 'small', '1'), small(copy), { recursive: true });
    await rm(others, { recursive: true });
    const { models: served } = await start(models);
    assert.deepEqual(served, ['small@1']);
    assertSame(await score(image), expected!);
    const logged = log.filter(({ directory }) => directory !== undefined);
    assert.deepEqual(
      logged.map(({ directory, msg }) => [directory, msg]).sort(),
      copies.map((copy) => [
        small(copy),
        copy === '2' ? 'a model bundle was refused' : 'a folder is not a model bundle and was ignored',
      ]),
    );
  });

  it('are named by hash in their answers, also with two versions and while an engine is lost', async () => {
    const images = Array.from({ length: 12 }, (_, seed) => smallImage(300 + seed));
    const bundles = [
      await writeSmallBundle(models, { version: 1 }),
      await writeSmallBundle(models, { version: 2, width: 12, patchMedian: 0.4 }),
    ];
    const expected = new Map<string, readonly Outcome[]>();
    for (const bundle of bundles) expected.set(bundle.sha256, await outcomesOf(bundle, images));
    const [one, two] = [...expected.values()].map(([first]) => first!.aggregate.imageScore);
    assert.ok(Math.abs(one! - two!) > 0.5, 'the versions give similar scores');

    const { registry } = await start(models, { engineBackOffMs: 600_000 });
    const running = images.flatMap((image) => [score(image, 1), score(image, 2), score(image)]);
    await running[0];
    injectFault('exit');
    const outcomes = await Promise.all(running);
    assert.equal(registry.engine, 'wasm');
    for (const [at, outcome] of outcomes.entries()) {
      const { model } = outcome.aggregate;
      assert.equal(model?.version, [1, 2, 2][at % 3]);
      assert.equal(model?.bundleSha256, bundles[model!.version - 1]!.sha256);
      assertSame(outcome, expected.get(model!.bundleSha256)![Math.floor(at / 3)]!);
    }
    assert.ok(outcomes.some(({ aggregate }) => aggregate.engines.includes('wasm')));
  });

  it('stay those of the start where files change or an engine is lost', async () => {
    const image = smallImage(4);
    await writeSmallBundle(models);
    await start(models);
    const before = await score(image);
    await rm(small(), { recursive: true });
    await writeSmallBundle(models, { width: 12, patchMedian: 0.4 });
    assertSame(await score(image), before);
    injectFault('exit');
    const after = await score(image);
    assertSame(after, before);
    assert.ok(after.aggregate.engines.includes('wasm'));
    await rm(models, { recursive: true });
    assertSame(await score(image), before);
  });

  it('are served without a bundle whose golden scores no engine reproduces or whose hash is wrong', async () => {
    await writeSmallBundle(models, { version: 1 });
    await writeSmallBundle(models, { version: 2, goldenError: 0.01 });
    await writeSmallBundle(models, { version: 3 });
    await writeFile(small('3', 'MODEL_CARD.md'), 'another card of another size');
    await writeSmallBundle(models, { name: 'other', version: 4 });
    const { models: served, engine } = await start(models);
    assert.deepEqual([served, engine], [['other@4', 'small@1'], 'onnx']);
    const refused = log.filter(({ level }) => level === ERROR);
    assert.deepEqual(refused.map(({ msg, model }) => [msg, model]).sort(), [
      ['a model bundle was refused', 'small@2'],
      ['a model bundle was refused', 'small@3'],
    ]);
    const golden = refused.find(({ model }) => model === 'small@2');
    assert.match(JSON.stringify(golden?.['err']), /golden scores differ by 0\.0(1|099)/);
    // The engine that takes over serves the same bundles.
    const image = smallImage(5);
    const before = await score(image);
    injectFault('exit');
    assertSame(await score(image), before);
    assert.equal(server?.registry.engine, 'wasm');
  });

  it('make the start fail with the first reason where none can be served', async () => {
    await writeSmallBundle(models, { goldenError: 0.01 });
    await assert.rejects(start(models), { reason: 'ENGINE_UNAVAILABLE', message: /golden scores differ/ });
    await rename(small('1'), small('1.bak'));
    await assert.rejects(start(models), {
      reason: 'CONFIGURATION_INVALID',
      message: /no NAME\/VERSION\/ under .*small\/1\.bak: its name is not a version/,
    });
    await rename(small('1.bak'), small('2'));
    await assert.rejects(start(models), {
      reason: 'BUNDLE_INVALID',
      message: /holds small@1 and not small@2/,
    });
    assert.deepEqual(await readdir(small()), ['2']);
  });

  it('run in another precision than the requested one with a warning in the log and the name in every answer', async () => {
    await writeSmallBundle(models);
    await start(models, { precision: 'bfloat16' });
    const warnings = log.filter(({ level }) => level === WARNING);
    assert.deepEqual(
      warnings.map(({ msg, model, engine, asked, precision }) => [msg, model, engine, asked, precision]),
      [['the model does not run in the requested precision', 'small@1', 'onnx', 'bfloat16', 'float32']],
    );
    const { aggregate } = await score(smallImage(6));
    assert.deepEqual(aggregate.precisions, ['float32']);
  });
});

describe('the workers of a pool', function () {
  this.timeout(60_000);

  it('are not started with two bundles of one name and version', async () => {
    const models = await mkdtemp(join(tmpdir(), 'salad-twice-'));
    const model = poolModelOf('small@1', await writeSmallBundle(models));
    await assert.rejects(
      EnginePool.start({ config: poolConfig({ engine: 'onnx', workers: 1 }), models: [model, model] }),
      { reason: 'INTERNAL', message: 'model small@1 was given twice' },
    );
    await rm(models, { recursive: true });
  });

  it('all score with the memory that the server has read and hashed', async () => {
    const models = await mkdtemp(join(tmpdir(), 'salad-shared-'));
    const bundle = await writeSmallBundle(models);
    const key = 'small@1';
    const config = poolConfig({ engine: 'onnx', workers: 2, maxBatchSize: 2 });
    const pool = await EnginePool.start({ config, models: [poolModelOf(key, bundle)] });
    const errors = () => Promise.all([1, 2].map(() => goldenError(pool, key, bundle)));
    const { prototypes } = bundle.bank;
    const before = prototypes.slice();
    try {
      assert.ok(Math.max(...(await errors())) < 1e-5);
      prototypes.fill(0);
      assert.ok(Math.min(...(await errors())) > 0.01);
      prototypes.set(before);
      assert.ok(Math.max(...(await errors())) < 1e-5);
    } finally {
      await pool.close();
      await rm(models, { recursive: true });
    }
  });
});
