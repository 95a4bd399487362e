/** Which bundles a server serves, and that every answer is of the bundle whose hash it names. */
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
import { injectFault, workerEntry } from '../support/faults.js';
import { connect, end, header, type Outcome, rows, stream } from '../support/grpc-client.js';
import { goldenError, poolModelOf } from '../support/pool-suite.js';
import { writeSmallBundle } from '../support/small-bundle.js';
import { SIDE, smallImage, startSmall } from '../support/small-server.js';

interface LogLine {
  readonly level: number;
  readonly msg: string;
  readonly directory?: string;
  readonly model?: string;
  readonly [more: string]: unknown;
}
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
  /** What a bundle gives for images where it is the only one. */
  const alone = async (
    { directory, manifest }: Bundle,
    images: readonly Uint8Array[],
  ): Promise<Outcome[]> => {
    const folder = await mkdtemp(join(tmpdir(), 'salad-alone-'));
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
      const got = outcome.patches.get(key);
      assert.ok(Math.abs((got?.score ?? Number.NaN) - patch.score) <= 1e-4, `patch ${key}`);
    }
    const { model, imageScore, pValue, threshold } = outcome.aggregate;
    assert.deepEqual(model, expected.aggregate.model);
    assert.ok(Math.abs(imageScore - expected.aggregate.imageScore) <= 1e-2);
    assert.deepEqual([pValue, threshold], [expected.aggregate.pValue, expected.aggregate.threshold]);
  };

  beforeEach(async () => {
    models = await mkdtemp(join(tmpdir(), 'salad-bundles-'));
  });
  afterEach(async () => {
    await stop();
    await rm(models, { recursive: true, force: true });
  });

  it('are served without their twins, which the log names', async () => {
    const image = smallImage(3);
    const [expected] = await alone(await writeSmallBundle(models), [image]);
    const twins = await mkdtemp(join(tmpdir(), 'salad-twins-'));
    await writeSmallBundle(twins, { width: 12, patchMedian: 0.4 });
    const copies = ['.1-x7Yz3q.old', '01', '1.bak', '1.old', '2'];
    for (const copy of copies) await cp(join(twins, 'small', '1'), small(copy), { recursive: true });
    await rm(twins, { recursive: true });
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

  it('give each answer the hash of what scored it, two versions at once and engines lost on the way', async () => {
    const images = Array.from({ length: 12 }, (_, seed) => smallImage(300 + seed));
    const bundles = [
      await writeSmallBundle(models, { version: 1 }),
      await writeSmallBundle(models, { version: 2, width: 12, patchMedian: 0.4 }),
    ];
    const expected = new Map<string, readonly Outcome[]>();
    for (const bundle of bundles) expected.set(bundle.sha256, await alone(bundle, images));
    const [one, two] = [...expected.values()].map(([first]) => first!.aggregate.imageScore);
    assert.ok(Math.abs(one! - two!) > 0.5, 'the versions cannot be told apart');

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

  it('are those of the start, whatever becomes of the files, and after an engine was lost', async () => {
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

  it('are served without one whose golden scores no engine reproduces, as without one with a wrong hash', async () => {
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
    // Also by the engine that takes over.
    const image = smallImage(5);
    const before = await score(image);
    injectFault('exit');
    assertSame(await score(image), before);
    assert.equal(server?.registry.engine, 'wasm');
  });

  it('stop the start where none can be served, with the first reason', async () => {
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

  it('are said to run in another precision than the one asked for, in the log and in every answer', async () => {
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

  it('never get two bundles of one name and version', async () => {
    const models = await mkdtemp(join(tmpdir(), 'salad-twice-'));
    const model = poolModelOf('small@1', await writeSmallBundle(models));
    await assert.rejects(
      EnginePool.start({ engine: 'onnx', workers: 1, maxBatchSize: 2, models: [model, model] }),
      { reason: 'INTERNAL', message: 'model small@1 was given twice' },
    );
    await rm(models, { recursive: true });
  });

  it('score with the memory that the server has read and hashed, each of them', async () => {
    const models = await mkdtemp(join(tmpdir(), 'salad-shared-'));
    const bundle = await writeSmallBundle(models);
    const key = 'small@1';
    const options = { workers: 2, maxBatchSize: 2, models: [poolModelOf(key, bundle)] };
    const pool = await EnginePool.start({ engine: 'onnx', ...options });
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
