import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { status } from '@grpc/grpc-js';
import { crc32c } from '@node-rs/crc32';
import { after, before, describe, it } from 'mocha';
import sharp from 'sharp';
import { loadConfig } from '../../src/config/load.js';
import { allocatePatchBatch } from '../../src/engines/batch.js';
import { createEngine } from '../../src/engines/select.js';
import type { AnomalyScoringClient } from '../../src/gen/salad/v1/anomaly_scoring.js';
import { AnomalyMapFormat, Decision, EarlyEnd, Source, WarningKind } from '../../src/gen/salad/v1/types.js';
import { type RunningServer, startServer } from '../../src/grpc/server.js';
import { defaultPixelFormat } from '../../src/imaging/pixel-format.js';
import { WorkingImage } from '../../src/imaging/working-image.js';
import type { Bundle } from '../../src/model/bundle.js';
import { createRandom } from '../../src/scoring/random.js';
import {
  collect,
  connect,
  end,
  header,
  type Outcome,
  refusal,
  rows,
  stream,
  tile,
  tiles,
} from '../support/grpc-client.js';
import { writeSmallBundle } from '../support/small-bundle.js';

function randomImage(seed: number, rowCount = 64, columns = 64): Uint8Array {
  const random = createRandom(seed);
  return Uint8Array.from({ length: rowCount * columns }, () => Math.floor(random() * 256));
}

const TILE_SOURCE = { source: Source.SOURCE_TILES } as const;
const allTiles = (image: Uint8Array) =>
  Array.from({ length: 16 }, (_, index) => tile(image, Math.floor(index / 4), index % 4));

/** Straight through the engine, with nothing of the server in between. */
async function directScores(bundle: Bundle, image: Uint8Array): Promise<Map<number, number>> {
  const { geometry, manifest } = bundle;
  const working = new WorkingImage(geometry, manifest.input, defaultPixelFormat(64, 64, 8), 0, 'rows');
  working.pushRows(image);
  working.complete();
  const size = geometry.tileSize ** 2;
  const pixels = new Uint8Array(16 * size);
  const positions = Int32Array.from({ length: 32 }, (_, i) =>
    i % 2 === 0 ? Math.floor(i / 8) : ((i - 1) / 2) % 4,
  );
  for (let index = 0; index < 16; index++) {
    working.cutTile(Math.floor(index / 4), index % 4, pixels.subarray(index * size, (index + 1) * size));
  }
  const engine = await createEngine('onnx');
  const model = await engine.load(bundle);
  const patches = allocatePatchBatch(16, model);
  await model.run({ count: 16, pixels, positions }, patches);
  const scores = new Map<number, number>();
  for (let index = 0; index < 64; index++) {
    const [at, within] = [Math.floor(index / 4), index % 4];
    const row = Math.floor(at / 4) * 2 + Math.floor(within / 2);
    scores.set(row * 8 + (at % 4) * 2 + (within % 2), patches.scores[index]!);
  }
  await model.dispose();
  await engine.dispose();
  return scores;
}

function assertScores(outcome: Outcome, expected: ReadonlyMap<number, number>, tolerance = 1e-6): void {
  assert.equal(outcome.patches.size, expected.size);
  for (const [key, score] of expected) {
    const got = outcome.patches.get(key)?.score ?? Number.NaN;
    assert.ok(Math.abs(got - score) <= tolerance, `patch ${key}: ${got} is not ${score}`);
  }
}

describe('serving through the port', function () {
  this.timeout(60_000);
  let folder: string;
  let bundle: Bundle;
  let server: RunningServer;
  let client: AnomalyScoringClient;
  const image = randomImage(1);
  let expected: Map<number, number>;
  const whole = (samples = image) => [header(), rows(samples, 64, 0, 64), end(crc32c(samples))];

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'salad-serving-'));
    bundle = await writeSmallBundle(folder);
    await writeSmallBundle(folder, { version: 2 });
    await writeSmallBundle(folder, { name: 'flat', minStd: 1 });
    await writeSmallBundle(folder, {
      name: 'stretched',
      intensity: { kind: 'percentile', low: 1, high: 99 },
    });
    server = await startServer(
      await loadConfig({
        flags: {
          listen: '127.0.0.1:0',
          models: folder,
          engine: 'onnx',
          workers: 2,
          maxImagePixels: 1_000_000,
          maxMessageBytes: 1_000_000,
          idleTimeoutMs: 3000,
        },
      }),
    );
    client = connect(server.address);
    expected = await directScores(bundle, image);
  });

  after(async () => {
    client?.close();
    await server?.stop(0);
    await rm(folder, { recursive: true, force: true });
  });

  const v1 = { model: { name: 'small', version: 1 } };

  describe('right input', () => {
    it('scores rows, tiles in any order and whole images exactly as the engine alone does', async () => {
      const byRows = await stream(client, [
        header(v1),
        rows(image, 64, 0, 1),
        rows(image, 64, 1, 40),
        rows(image, 64, 40, 64),
        end(crc32c(image)),
      ]);
      const backwards = allTiles(image).reverse();
      const byTiles = await stream(client, [
        header({ ...v1, ...TILE_SOURCE }),
        tiles(backwards.slice(0, 5)),
        tiles(backwards.slice(5)),
        end(),
      ]);
      const raw = header(v1);
      assert.equal(raw.$case, 'header');
      const byRaw = await collect(
        client.scoreImage({ header: raw.value, image: { $case: 'raw', value: Buffer.from(image) } }),
      );
      const png = await sharp(image, { raw: { width: 64, height: 64, channels: 1 } })
        .png()
        .toBuffer();
      const byPng = await collect(
        client.scoreImage({ header: raw.value, image: { $case: 'encoded', value: png } }),
      );
      for (const outcome of [byRows, byTiles, byRaw, byPng]) {
        assertScores(outcome, expected);
        assert.equal(outcome.kinds[0], 'accepted');
        assert.equal(outcome.kinds.at(-1), 'aggregate');
        assert.equal(outcome.aggregate.coverage?.scored, 64);
        assert.equal(outcome.aggregate.imageScore, byRows.aggregate.imageScore);
        assert.deepEqual(outcome.aggregate.topPatches, byRows.aggregate.topPatches);
      }
    });

    it('sends patch scores before the last row is sent', async () => {
      const call = client.streamAcquisition();
      const outcome = collect(call);
      const firstScores = new Promise<void>((resolve) => {
        call.on('data', ({ payload }) => {
          if (payload?.$case === 'patchScores') resolve();
        });
      });
      call.write({ payload: header(v1) });
      call.write({ payload: rows(image, 64, 0, 24) });
      await firstScores;
      call.write({ payload: rows(image, 64, 24, 64) });
      call.write({ payload: end() });
      call.end();
      assertScores(await outcome, expected);
    });

    it('answers at `end`, though the client keeps its side of the stream open', async () => {
      const call = client.streamAcquisition();
      const outcome = collect(call);
      for (const payload of [header(v1), ...whole().slice(1)]) call.write({ payload });
      assertScores(await outcome, expected);
    });

    it('gives 32 concurrent streams each exactly their own results', async () => {
      const images = Array.from({ length: 32 }, (_, seed) => randomImage(100 + seed));
      const alone: Outcome[] = [];
      for (const each of images.slice(0, 4)) alone.push(await stream(client, whole(each)));
      const together = await Promise.all(images.map((each) => stream(client, whole(each))));
      const scoresOf = (outcome: Outcome) =>
        new Map([...outcome.patches].map(([key, { score }]) => [key, score]));
      alone.forEach((outcome, index) => {
        assertScores(together[index]!, scoresOf(outcome));
      });
      const distinct = new Set(together.map(({ aggregate }) => aggregate.imageScore));
      assert.equal(distinct.size, 32);
    });

    it('answers with the highest version unless one is asked for', async () => {
      const latest = await stream(client, whole());
      assert.equal(latest.aggregate.model?.version, 2);
      const first = await stream(client, [header(v1), ...whole().slice(1)]);
      assert.equal(first.aggregate.model?.version, 1);
      assert.equal(first.aggregate.model?.bundleSha256, bundle.sha256);
    });

    it('sends embeddings, nearest prototypes and the float map only where asked', async () => {
      const plain = await stream(client, whole());
      assert.equal(plain.patches.get(0)?.embedding.length, 0);
      assert.equal(plain.aggregate.anomalyMap, undefined);
      const options = {
        embeddings: true,
        nearestPrototypes: 2,
        anomalyMap: AnomalyMapFormat.ANOMALY_MAP_FORMAT_FLOAT32,
        topPatches: 3,
      };
      const rich = await stream(client, [header({ ...v1, options }), ...whole().slice(1)]);
      const patch = rich.patches.get(9)!;
      assert.equal(patch.embedding.length, 16);
      assert.ok(Math.abs(patch.embedding.reduce((sum, x) => sum + x * x, 0) - 1) < 1e-5);
      assert.equal(patch.nearestPrototypes.length, 2);
      const [near, next] = patch.nearestPrototypes;
      assert.ok(near!.distance <= next!.distance);
      assert.equal(near!.sourceImageId, ['a.png', 'b.png', 'c.png'][near!.index % 3]);
      assert.equal(rich.aggregate.anomalyMap?.data.length, 64 * 64 * 4);
      assert.equal(rich.aggregate.topPatches.length, 3);
      const quiet = await stream(client, [header({ options: { patchScores: false } }), ...whole().slice(1)]);
      assert.deepEqual(quiet.kinds, ['accepted', 'aggregate']);
    });

    it('skips background, and calls an image of nothing else indeterminate', async () => {
      const flat = new Uint8Array(64 * 64).fill(90);
      const { aggregate } = await stream(client, [
        header({ model: { name: 'flat' } }),
        rows(flat, 64, 0, 64),
        end(),
      ]);
      assert.equal(aggregate.coverage?.skipped, 64);
      assert.equal(aggregate.decision, Decision.DECISION_INDETERMINATE);
      assert.ok(Number.isNaN(aggregate.imageScore));
      assert.equal(aggregate.pValue, 1);
      assert.deepEqual(
        aggregate.warnings.map(({ kind }) => kind),
        [WarningKind.WARNING_KIND_NOTHING_SCORED],
      );
    });

    it('says up front that a percentile model scores after the last pixel, and does', async () => {
      const call = client.streamAcquisition();
      const accepted = new Promise<boolean>((resolve) => {
        call.on('data', ({ payload }) => {
          if (payload?.$case === 'accepted') resolve(payload.value.scoresBeforeLastPixel);
        });
      });
      const outcome = collect(call);
      call.write({ payload: header({ model: { name: 'stretched' } }) });
      assert.equal(await accepted, false);
      call.write({ payload: rows(image, 64, 0, 64) });
      call.write({ payload: end() });
      call.end();
      assert.equal((await outcome).patches.size, 64);
    });
  });

  describe('wrong input', () => {
    /** The refusal, while another stream is open before and goes on after. */
    async function besideAnother(wrong: () => Promise<unknown>) {
      const call = client.streamAcquisition();
      const other = collect(call);
      call.write({ payload: header(v1) });
      call.write({ payload: rows(image, 64, 0, 30) });
      const refused = await refusal(wrong());
      call.write({ payload: rows(image, 64, 30, 64) });
      call.write({ payload: end(crc32c(image)) });
      call.end();
      assertScores(await other, expected);
      assert.equal(refused.domain, 'salad-serve');
      return refused;
    }

    const cases: readonly [
      string,
      () => readonly Parameters<typeof stream>[1][number][],
      status,
      string,
      string,
    ][] = [
      [
        'an unknown model',
        () => [header({ model: { name: 'nobody' } })],
        status.NOT_FOUND,
        'MODEL_NOT_FOUND',
        '',
      ],
      [
        'an unknown version',
        () => [header({ model: { name: 'small', version: 9 } })],
        status.NOT_FOUND,
        'MODEL_NOT_FOUND',
        '',
      ],
      ['no header', () => [rows(image, 64, 0, 64)], status.INVALID_ARGUMENT, 'HEADER_MISSING', 'header'],
      ['nothing at all', () => [], status.INVALID_ARGUMENT, 'HEADER_MISSING', 'header'],
      ['two headers', () => [header(), header()], status.INVALID_ARGUMENT, 'HEADER_DUPLICATE', 'header'],
      [
        'no rows in the geometry',
        () => [header({ image: { rows: 0 } })],
        status.INVALID_ARGUMENT,
        'HEADER_INVALID',
        'header.image.rows',
      ],
      [
        'bits that do not exist',
        () => [header({ image: { bitsAllocated: 12 } })],
        status.INVALID_ARGUMENT,
        'HEADER_INVALID',
        'header.image.bits_allocated',
      ],
      [
        'no id',
        () => [header({ acquisitionId: '' })],
        status.INVALID_ARGUMENT,
        'HEADER_INVALID',
        'header.acquisition_id',
      ],
      [
        'no source',
        () => [header({ source: Source.SOURCE_UNSPECIFIED })],
        status.INVALID_ARGUMENT,
        'HEADER_INVALID',
        'header.source',
      ],
      [
        'an image above the limit',
        () => [header({ image: { rows: 70_000, columns: 70_000 } })],
        status.RESOURCE_EXHAUSTED,
        'IMAGE_TOO_LARGE',
        'header.image.rows',
      ],
      [
        'a tile out of the grid',
        () => [header(TILE_SOURCE), tiles([{ ...tile(image, 0, 0), row: 4 }])],
        status.INVALID_ARGUMENT,
        'TILE_OUT_OF_GRID',
        'tiles.tiles',
      ],
      [
        'a tile sent twice',
        () => [header(TILE_SOURCE), tiles([tile(image, 1, 1)]), tiles([tile(image, 1, 1)])],
        status.INVALID_ARGUMENT,
        'TILE_DUPLICATE',
        'tiles.tiles',
      ],
      [
        'a tile of the wrong size',
        () => [header(TILE_SOURCE), tiles([{ row: 0, column: 0, samples: new Uint8Array(255) }])],
        status.INVALID_ARGUMENT,
        'SAMPLE_COUNT_MISMATCH',
        'tiles.tiles',
      ],
      [
        'half a row',
        () => [header(), { $case: 'rows', value: { firstRow: 0, samples: new Uint8Array(96) } }],
        status.INVALID_ARGUMENT,
        'SAMPLE_COUNT_MISMATCH',
        'rows.samples',
      ],
      [
        'rows out of order',
        () => [header(), rows(image, 64, 8, 16)],
        status.INVALID_ARGUMENT,
        'ROWS_OUT_OF_ORDER',
        'rows.first_row',
      ],
      [
        'rows where tiles were announced',
        () => [header(TILE_SOURCE), rows(image, 64, 0, 8)],
        status.INVALID_ARGUMENT,
        'MESSAGE_UNEXPECTED',
        'rows',
      ],
      [
        'a wrong checksum',
        () => [header(), rows(image, 64, 0, 64), end(1)],
        status.INVALID_ARGUMENT,
        'CHECKSUM_MISMATCH',
        'end.crc32c',
      ],
      [
        'a false-positive rate the calibration cannot promise',
        () => [header({ options: { maxFalsePositiveRate: 0.001 } })],
        status.FAILED_PRECONDITION,
        'FALSE_POSITIVE_RATE_UNREACHABLE',
        '',
      ],
      [
        'a stream that ends early',
        () => [header(), rows(image, 64, 0, 40)],
        status.FAILED_PRECONDITION,
        'ACQUISITION_INCOMPLETE',
        '',
      ],
      [
        'an end before the last row',
        () => [header(), rows(image, 64, 0, 40), end()],
        status.FAILED_PRECONDITION,
        'ACQUISITION_INCOMPLETE',
        '',
      ],
    ];
    for (const [what, payloads, code, reason, field] of cases) {
      it(`refuses ${what} and leaves the other stream alone`, async () => {
        const refused = await besideAnother(() => stream(client, payloads()));
        assert.deepEqual([refused.code, refused.reason], [code, reason]);
        if (field !== '') assert.deepEqual(refused.fields, [field]);
      });
    }

    it('refuses corrupt, foreign and mismatching images and lives on', async () => {
      const base = header();
      assert.equal(base.$case, 'header');
      const png = await sharp(image, { raw: { width: 64, height: 64, channels: 1 } })
        .png()
        .toBuffer();
      const corrupt = Buffer.from(png);
      corrupt.fill(0x55, 60, 400);
      const encoded = (value: Buffer) => () =>
        collect(client.scoreImage({ header: base.value, image: { $case: 'encoded', value } }));
      for (const bytes of [corrupt, png.subarray(0, 200), Buffer.from('<svg/>')]) {
        const refused = await besideAnother(encoded(bytes));
        assert.deepEqual([refused.code, refused.reason], [status.INVALID_ARGUMENT, 'IMAGE_UNREADABLE']);
        assert.deepEqual(refused.fields, ['encoded']);
      }
      const short = await besideAnother(() =>
        collect(client.scoreImage({ header: base.value, image: { $case: 'raw', value: Buffer.alloc(10) } })),
      );
      assert.deepEqual([short.reason, short.fields], ['SAMPLE_COUNT_MISMATCH', ['raw']]);
    });

    it('refuses a message above the size limit with RESOURCE_EXHAUSTED', async () => {
      const samples = new Uint8Array(2_000_000);
      const call = stream(client, [header(), { $case: 'rows', value: { firstRow: 0, samples } }]);
      await assert.rejects(call, (error: { code?: number }) => error.code === status.RESOURCE_EXHAUSTED);
      assertScores(await stream(client, [header(v1), ...whole().slice(1)]), expected);
    });

    it('refuses bytes that are no message and lives on', async () => {
      const call = client.makeBidiStreamRequest(
        '/salad.v1.AnomalyScoring/StreamAcquisition',
        (value: Buffer) => value,
        (value: Buffer) => value,
      );
      const failed = new Promise<number>((resolve) => {
        call.on('error', (error: Error & { code?: number }) => resolve(error.code ?? -1));
      });
      call.on('data', () => {});
      call.write(Buffer.from([0x0a, 0xff, 0xff, 0xff, 0xff, 0x0f, 1, 2, 3]));
      call.end();
      assert.notEqual(await failed, status.OK);
      assertScores(await stream(client, [header(v1), ...whole().slice(1)]), expected);
    });

    it('aggregates an early end where PARTIAL was asked for, and never calls it normal', async () => {
      const options = { earlyEnd: EarlyEnd.EARLY_END_PARTIAL };
      const { aggregate, patches } = await stream(client, [header({ options }), rows(image, 64, 0, 40)]);
      assert.equal(aggregate.decision, Decision.DECISION_INDETERMINATE);
      assert.ok(patches.size > 0);
      assert.equal(aggregate.coverage?.scored, patches.size);
      assert.equal(aggregate.coverage?.missingTiles.length, (64 - patches.size) / 4);
      assert.equal(aggregate.coverage?.missing, 64 - patches.size);
      assert.ok(aggregate.warnings.some(({ kind }) => kind === WarningKind.WARNING_KIND_PARTIAL));
      const nothing = await stream(client, [header({ options })]);
      assert.equal(nothing.aggregate.coverage?.missing, 64);
      assert.equal(nothing.aggregate.decision, Decision.DECISION_INDETERMINATE);
    });
  });

  describe('lifetimes', () => {
    const settled = async (condition: () => boolean) => {
      for (let tries = 0; tries < 300 && !condition(); tries++)
        await new Promise((next) => setTimeout(next, 10));
      assert.ok(condition());
    };

    it('gives the room of a cancelled acquisition back at once', async () => {
      const { budget } = server.registry;
      const call = client.streamAcquisition();
      call.on('error', () => {});
      const accepted = new Promise((resolve) => call.once('data', resolve));
      call.write({ payload: header() });
      await accepted;
      assert.equal(budget.open, 1);
      call.cancel();
      await settled(() => budget.open === 0 && budget.bytes === 0);
    });

    it('fails a client that falls silent', async () => {
      const call = client.streamAcquisition();
      const refused = refusal(collect(call));
      call.write({ payload: header() });
      const { code, reason } = await refused;
      assert.deepEqual([code, reason], [status.DEADLINE_EXCEEDED, 'IDLE_TIMEOUT']);
      await settled(() => server.registry.budget.open === 0);
    });

    it('loses nothing when a worker dies in the middle of the work', async () => {
      const images = Array.from({ length: 24 }, (_, seed) => randomImage(500 + seed));
      const work = Promise.all(images.map((each) => stream(client, [header(v1), ...whole(each).slice(1)])));
      server.registry.pool.injectFault({ kind: 'exit' });
      const outcomes = await work;
      for (const { aggregate } of outcomes) {
        assert.equal(aggregate.coverage?.scored, 64);
        assert.equal(aggregate.coverage?.failed, 0);
      }
      assertScores(outcomes[0]!, await directScores(bundle, images[0]!));
    });
  });
});
