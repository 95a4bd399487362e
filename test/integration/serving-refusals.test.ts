import assert from 'node:assert/strict';
import { status } from '@grpc/grpc-js';
import { crc32c } from '@node-rs/crc32';
import { after, before, describe, it } from 'mocha';
import sharp from 'sharp';
import type { AnomalyScoringClient } from '../../src/gen/salad/v1/anomaly_scoring.js';
import { Decision, EarlyEnd, Source, WarningKind } from '../../src/gen/salad/v1/types.js';
import { collect, end, header, refusal, rows, stream, tile, tiles } from '../support/protocol/grpc-client.js';
import {
  assertScores,
  image,
  type Serving,
  startServing,
  TILE_SOURCE,
  v1,
  whole,
} from '../support/servers/serving.js';

describe('wrong input through the port', function () {
  this.timeout(60_000);
  let serving: Serving;
  let client: AnomalyScoringClient;
  let expected: ReadonlyMap<number, number>;

  before(async () => {
    serving = await startServing();
    ({ client, expected } = serving);
  });
  after(() => serving.stop());

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
    it(`refuses ${what} without an effect on the other stream`, async () => {
      const refused = await besideAnother(() => stream(client, payloads()));
      assert.deepEqual([refused.code, refused.reason], [code, reason]);
      if (field !== '') assert.deepEqual(refused.fields, [field]);
    });
  }

  it('refuses corrupt, foreign and mismatching images, and continues to serve', async () => {
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

  it('refuses bytes that are no message, and continues to serve', async () => {
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

  it('aggregates an early end on request (PARTIAL), and never decides normal', async () => {
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
