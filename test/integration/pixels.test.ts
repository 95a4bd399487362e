/** The meaning of pixels, through the port, on the shipped models. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, before, describe, it } from 'mocha';
import sharp from 'sharp';
import {
  type AcquisitionAggregate,
  type AcquisitionEvent,
  displayTiles,
  type PixelChunk,
  SaladClient,
  SaladClientError,
  Source,
} from '../../clients/typescript/src/index.js';
import { loadConfig } from '../../src/config/load.js';
import {
  Decision,
  type ImageFormat,
  PhotometricInterpretation,
  VoiFunction,
  WarningKind,
} from '../../src/gen/salad/v1/types.js';
import {
  createDisplayTransform,
  defaultPixelFormat,
  type PixelFormat,
} from '../../src/imaging/pixel-format/pixel-format.js';
import { resampleImage } from '../../src/imaging/working-image/resample.js';
import { makePhantom } from '../../src/phantom/phantom.js';
import { createRandomSource } from '../../src/phantom/random-source.js';
import { type RunningServer, startServer } from '../../src/server/server.js';
import { endedEarly, withFrame, withZeros } from '../support/images/damage.js';
import { flatJpeg } from '../support/images/jpeg.js';
import { GREY, png } from '../support/images/png.js';
import { root } from '../support/root.js';

const MODELS = ['phantom', 'chest-pediatric', 'chest-adult'] as const;
const RATES = [0.05, 0.02, 0.01] as const;

const phantom = makePhantom({ seed: 11, size: 300, lesion: 'effusion' });
const phantomBytes = new Uint8Array(
  phantom.samples.buffer,
  phantom.samples.byteOffset,
  phantom.samples.byteLength,
);

type Image = Partial<ImageFormat> & { readonly rows: number; readonly columns: number };

async function collect(events: AsyncIterable<AcquisitionEvent>) {
  const scores = new Map<string, number>();
  let aggregate: AcquisitionAggregate | undefined;
  for await (const event of events) {
    if (event.type === 'aggregate') aggregate = event.aggregate;
    if (event.type !== 'patches') continue;
    for (const { row, column, score } of event.patches) scores.set(`${row},${column}`, score);
  }
  assert.ok(aggregate);
  return { aggregate, scores };
}

function rowsOf(samples: Uint8Array, rowBytes: number, rowsPerMessage = 64): PixelChunk[] {
  const chunks: PixelChunk[] = [];
  const bytes = rowBytes * rowsPerMessage;
  for (let at = 0; at < samples.length; at += bytes) {
    chunks.push({
      type: 'rows',
      rows: { firstRow: at / rowBytes, samples: samples.subarray(at, at + bytes) },
    });
  }
  return chunks;
}

describe('pixels through the port', function () {
  this.timeout(120_000);
  let server: RunningServer;
  let client: SaladClient;

  before(async () => {
    // Tiles are sent one by one, because the other tiles of a batch may change the last bit of a score.
    const flags = { models: join(root, 'models'), listen: '127.0.0.1:0', engine: 'onnx', workers: 1 };
    server = await startServer(
      await loadConfig({ flags: { ...flags, maxBatchSize: 1, engineStandbyDelayMs: 0, logLevel: 'silent' } }),
    );
    client = new SaladClient(server.address, { retry: false });
  });
  after(async () => {
    client.close();
    await server.stop(0);
  });

  const headerOf = (model: string, image: Image | undefined, more: Record<string, unknown> = {}) => ({
    acquisitionId: 'pixels',
    model: { name: model },
    source: Source.SOURCE_ROWS,
    ...(image === undefined ? {} : { image }),
    ...more,
  });

  const scoreEncoded = (encoded: Uint8Array, model: string = MODELS[0], options = {}) =>
    collect(client.streamImage(headerOf(model, undefined, { options }), { encoded }));

  async function refusal(call: Promise<unknown>) {
    const error = await call.then(
      () => assert.fail('was not refused'),
      (thrown: unknown) => thrown,
    );
    assert.ok(error instanceof SaladClientError, String(error));
    const { status, reason, fieldViolations } = error;
    return { status, reason, fields: fieldViolations.map(({ field }) => field) };
  }

  /** The three input modes. */
  async function threeWays(
    model: string,
    image: Image,
    format: PixelFormat,
    samples: Uint8Array,
    options = {},
  ) {
    const raw = await collect(client.streamImage(headerOf(model, image, { options }), { raw: samples }));
    const rowBytes = samples.length / image.rows;
    const rows = await collect(
      client.streamAcquisition(headerOf(model, image, { options }), rowsOf(samples, rowBytes)),
    );
    const isAuto = format.voi.kind === 'auto';
    const { rows: height, columns: width, bitsStored } = format;
    const display = {
      ...headerOf(model, {
        rows: height,
        columns: width,
        bitsAllocated: 32,
        bitsStored,
        ...(isAuto && image.voi ? { voi: image.voi } : {}),
      }),
      source: Source.SOURCE_TILES,
      options,
    };
    const tiles = await collect(
      client.streamAcquisition(display, (accepted) => {
        const values = new Float32Array(height * width);
        createDisplayTransform(format)(samples, values);
        const shape = { targetRows: accepted.placement!.rows, targetColumns: accepted.placement!.columns };
        return [
          ...displayTiles(
            accepted,
            resampleImage(values, { sourceRows: height, sourceColumns: width, ...shape }),
          ),
        ];
      }),
    );
    return { raw, rows, tiles };
  }

  it('have the same scores as a whole image, as rows and as tiles of display values, on every model', async () => {
    const { rows, columns } = phantom;
    const deep = { rows, columns, bitsAllocated: 16, bitsStored: 12 };
    const format = defaultPixelFormat(rows, columns, 16, 12);
    const window = { center: 1900, width: 2600 };
    const entries = Array.from({ length: 4096 }, (_, i) => Math.round(255 * Math.sqrt(i / 4095)));
    const lut = { firstValue: 0, bitsPerEntry: 8, entries };
    const { VOI_FUNCTION_LINEAR, VOI_FUNCTION_SIGMOID } = VoiFunction;
    const voiOf = (fn: VoiFunction) => ({
      transform: { $case: 'window' as const, value: { ...window, function: fn } },
    });
    const cases: readonly (readonly [string, Image, PixelFormat])[] = [
      ['full range', deep, format],
      [
        'window',
        { ...deep, voi: voiOf(VOI_FUNCTION_LINEAR) },
        { ...format, voi: { kind: 'window', function: 'linear', ...window } },
      ],
      [
        'sigmoid, MONOCHROME1',
        {
          ...deep,
          voi: voiOf(VOI_FUNCTION_SIGMOID),
          photometricInterpretation: PhotometricInterpretation.PHOTOMETRIC_INTERPRETATION_MONOCHROME1,
        },
        { ...format, monochrome1: true, voi: { kind: 'window', function: 'sigmoid', ...window } },
      ],
      [
        'LUT',
        { ...deep, voi: { transform: { $case: 'lut', value: lut } } },
        { ...format, voi: { kind: 'lut', ...lut } },
      ],
      [
        'automatic window',
        {
          ...deep,
          voi: { transform: { $case: 'auto', value: { lowPercentile: 2, highPercentile: 98 } } },
        },
        { ...format, voi: { kind: 'auto', lowPercentile: 2, highPercentile: 98 } },
      ],
    ];
    for (const model of MODELS) {
      for (const [what, image, own] of cases) {
        const { raw, rows: byRows, tiles } = await threeWays(model, image, own, phantomBytes);
        assert.ok((byRows.aggregate.coverage?.scored ?? 0) > 30, `${model}, ${what}`);
        for (const other of [raw, tiles]) {
          assert.deepEqual(other.scores, byRows.scores, `${model}, ${what}`);
          assert.equal(other.aggregate.imageScore, byRows.aggregate.imageScore, `${model}, ${what}`);
          assert.equal(other.aggregate.decision, byRows.aggregate.decision);
        }
      }
    }
  });

  it('of a blank image lead to no decision, on every model, at every rate, in every input mode', async () => {
    const side = 300;
    const random = createRandomSource(1, 'blank');
    const images: readonly (readonly [string, number, number, (i: number) => number])[] = [
      ['black', side, side, () => 0],
      ['white', side, side, () => 255],
      ['one pixel', 1, 1, () => 77],
      ['noise', side, side, () => 128 + Math.round(2 * random.normal())],
      ['marker', side, side, (i) => (i % side > 270 && i < 40 * side ? 255 : 20)],
    ];
    for (const model of MODELS) {
      for (const [index, [what, rows, columns, value]] of images.entries()) {
        const samples = Uint8Array.from({ length: rows * columns }, (_, i) => value(i));
        const file = png({ rows, columns, bits: 8, colourType: GREY, values: [...samples] });
        for (const maxFalsePositiveRate of RATES) {
          const options = { maxFalsePositiveRate };
          const outcomes = [await scoreEncoded(file, model, options)];
          if (maxFalsePositiveRate === RATES[index % RATES.length]) {
            const image = { rows, columns, bitsAllocated: 8 };
            const format = defaultPixelFormat(rows, columns, 8);
            const { rows: byRows, tiles } = await threeWays(model, image, format, samples, options);
            outcomes.push(byRows, tiles);
          }
          for (const { aggregate, scores } of outcomes) {
            const { decision, coverage, warnings, pValue, imageScore, engines } = aggregate;
            assert.equal(decision, Decision.DECISION_INDETERMINATE, `${what} on ${model}`);
            assert.ok(Number.isNaN(imageScore) && Number.isNaN(pValue) && coverage?.scored === 0);
            assert.deepEqual([scores.size, engines], [0, []]);
            const kinds = warnings.map(({ kind }) => kind);
            assert.ok(kinds.includes(WarningKind.WARNING_KIND_NOTHING_SCORED), what);
          }
        }
      }
    }
  });

  it('of a damaged file are refused, and the server continues to serve', async () => {
    const raw = { raw: { width: 300, height: 300, channels: 1 } } as const;
    const grey = Uint8Array.from(phantom.samples, (value) => value >> 4);
    const jpeg = await sharp(grey, raw).jpeg({ quality: 85 }).toBuffer();
    const file = await sharp(grey, raw).png().toBuffer();
    const wrongChecksum = Buffer.from(file);
    wrongChecksum[file.length >> 1] = file[file.length >> 1]! ^ 1;
    for (const [what, bytes] of [
      ['closed early', endedEarly(jpeg, 0.5)],
      ['a sector of zeros', withZeros(jpeg, 0.5)],
      ['taller than its data', withFrame(jpeg, (rows, columns) => [2 * rows, columns])],
      ['a wrong checksum', wrongChecksum],
      ['without its end', file.subarray(0, -12)],
      ['two images', Buffer.concat([jpeg, file])],
    ] as const) {
      const refused = await refusal(scoreEncoded(bytes));
      const expected = { status: 'INVALID_ARGUMENT', reason: 'IMAGE_UNREADABLE', fields: ['encoded'] };
      assert.deepEqual(refused, expected, what);
    }
    const { aggregate } = await scoreEncoded(jpeg);
    assert.equal(aggregate.coverage?.scored, 256);
  });

  it('are refused where a side is above 65,535, before anything is decoded or reserved', async () => {
    for (const [rows, columns, field] of [
      [65_536, 1, 'rows'],
      [1, 65_536, 'columns'],
      [67_108_864, 1, 'rows'],
      [2, 16_760_000, 'columns'],
    ] as const) {
      const image = { rows, columns, bitsAllocated: 8 };
      const header = headerOf('phantom', image);
      const refused = await refusal(collect(client.streamAcquisition(header, [])));
      const fields = [`header.image.${field}`];
      assert.deepEqual(refused, { status: 'RESOURCE_EXHAUSTED', reason: 'IMAGE_TOO_LARGE', fields });
    }
    const long = png({ rows: 1, columns: 60_000_000, bits: 8, colourType: GREY, values: [1] });
    assert.equal((await refusal(scoreEncoded(long))).reason, 'IMAGE_TOO_LARGE');
  });

  it('may have a look-up table of 65,536 entries, and none longer', async () => {
    const { rows, columns } = phantom;
    const send = (length: number) => {
      const entries = Array.from({ length }, (_, i) => Math.min(255, i >> 4));
      const voi = {
        transform: { $case: 'lut' as const, value: { firstValue: 0, bitsPerEntry: 8, entries } },
      };
      const header = headerOf('phantom', { rows, columns, bitsAllocated: 16, bitsStored: 12, voi });
      return collect(client.streamAcquisition(header, rowsOf(phantomBytes, 2 * columns)));
    };
    assert.equal((await send(65_536)).aggregate.coverage?.scored, 256);
    const { reason, fields } = await refusal(send(65_537));
    assert.deepEqual([reason, fields], ['HEADER_INVALID', ['header.image.voi.lut.entries']]);
  });

  it('of 32 bits are display values of tiles, and nothing else', async () => {
    const image = { rows: 256, columns: 256, bitsAllocated: 32 };
    const tiled = { source: Source.SOURCE_TILES };
    const rowwise = await refusal(collect(client.streamAcquisition(headerOf('phantom', image), [])));
    assert.deepEqual(rowwise.fields, ['header.image.bits_allocated']);
    const raw = new Uint8Array(4 * 256 * 256);
    const whole = await refusal(collect(client.streamImage(headerOf('phantom', image), { raw })));
    assert.deepEqual(whole.fields, ['header.image.bits_allocated']);
    for (const [field, value] of [
      ['is_signed', { isSigned: true }],
      ['rescale_slope', { rescaleSlope: 2 }],
      ['rescale_intercept', { rescaleIntercept: -1024 }],
      ['bits_stored', { bitsStored: 24 }],
      [
        'photometric_interpretation',
        { photometricInterpretation: PhotometricInterpretation.PHOTOMETRIC_INTERPRETATION_MONOCHROME1 },
      ],
      [
        'voi.window',
        {
          voi: {
            transform: {
              $case: 'window' as const,
              value: { center: 1, width: 2, function: VoiFunction.VOI_FUNCTION_LINEAR },
            },
          },
        },
      ],
    ] as const) {
      const header = headerOf('phantom', { ...image, ...value }, tiled);
      const { reason, fields } = await refusal(collect(client.streamAcquisition(header, [])));
      assert.deepEqual([reason, fields], ['HEADER_INVALID', [`header.image.${field}`]]);
    }
    const samples = new Uint8Array(new Float32Array(32 * 256).fill(4095).buffer);
    const chunk: PixelChunk = { type: 'tiles', tiles: [{ row: 0, column: 0, samples }] };
    const { reason, fields } = await refusal(
      collect(client.streamAcquisition(headerOf('phantom', image, tiled), [chunk])),
    );
    assert.deepEqual([reason, fields], ['SAMPLE_INVALID', ['tiles.tiles']]);
  });

  it('of a file must fit into the stored bits of the header', async () => {
    const file = (highest: number) => {
      const values = Array.from({ length: 256 * 256 }, (_, index) => (index === 100 ? highest : 0));
      return png({ rows: 256, columns: 256, bits: 16, colourType: GREY, values });
    };
    const image = { rows: 256, columns: 256, bitsStored: 12 } as Image;
    const send = (highest: number) =>
      collect(client.streamImage(headerOf(MODELS[0], image), { encoded: file(highest) }));
    await send(4095);
    const { reason, fields } = await refusal(send(4096));
    assert.deepEqual([reason, fields], ['HEADER_INVALID', ['header.image.bits_stored']]);
  });

  it('belong to an acquisition whose id has up to 64 characters, each of them one code point', async () => {
    const send = (acquisitionId: string) =>
      collect(
        client.streamImage(
          { ...headerOf('phantom', undefined), acquisitionId },
          { encoded: flatJpeg({ values: [9] }) },
        ),
      );
    for (const id of ['😀'.repeat(40), '😀'.repeat(64), 'é'.repeat(64), 'x']) {
      assert.equal((await send(id)).aggregate.acquisitionId, id);
    }
    for (const id of ['', '😀'.repeat(65), 'x'.repeat(65), 'x'.repeat(4000)]) {
      assert.deepEqual((await refusal(send(id))).fields, ['header.acquisition_id']);
    }
    // A repeated id is another acquisition.
    const [one, other] = [
      await scoreEncoded(flatJpeg({ values: [9] })),
      await scoreEncoded(flatJpeg({ values: [9] })),
    ];
    assert.deepEqual(one.aggregate.acquisitionId, other.aggregate.acquisitionId);
  });
});
