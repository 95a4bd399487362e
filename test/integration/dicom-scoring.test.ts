import assert from 'node:assert/strict';
import { after, before, describe, it } from 'mocha';
import {
  type DicomFileOptions,
  dicomFile,
  type Elements,
  testCells,
} from '../../bench/support/dicom-file.js';
import {
  type AcquisitionAggregate,
  PhotometricInterpretation,
  SaladClient,
  SaladClientError,
  Source,
} from '../../clients/typescript/src/index.js';
import { DicomImage } from '../../src/dicom/decode.js';
import type { RunningServer } from '../../src/server/server.js';
import { imageFormatOf } from '../../src/wire/image-format.js';
import { essence, type ModelsFolder, smallModels, startSmall } from '../support/servers/small-server.js';

const SIDE = 64;
const PLAIN = { rows: SIDE, columns: SIDE, cells: testCells(SIDE, SIDE, 12), bitsStored: 12 };
const WINDOW: Elements = { '00281050 DS': '2000', '00281051 DS': '3000' };

/** A curve, so that a missing look-up table changes scores. */
function curve(count: number, bits: number): number[] {
  return Array.from({ length: count }, (_, i) => Math.round((i / (count - 1)) ** 2 * (2 ** bits - 1)));
}

const table = (count: number, first: number, bits: number): Elements => ({
  '00283002 US': [count, first, bits],
  '00283006 US': curve(count, bits),
});

describe('ScoreImage of a DICOM file', function () {
  this.timeout(60_000);
  let models: ModelsFolder;
  let server: RunningServer;
  let client: SaladClient;

  before(async () => {
    models = await smallModels();
    server = await startSmall(models.path);
    client = new SaladClient(server.address);
  });
  after(async () => {
    client.close();
    await server.stop(0);
    await models.remove();
  });

  const header = (more: object = {}) => ({ acquisitionId: 'one', model: { name: 'small' }, ...more });

  async function asFile(file: Uint8Array, more: object = {}, frame?: number): Promise<AcquisitionAggregate> {
    return client.scoreImage(header(more), { encoded: file, ...(frame === undefined ? {} : { frame }) });
  }

  /** The rows of a client that decodes the file itself. */
  async function asRows(file: Uint8Array, frame = 1): Promise<AcquisitionAggregate> {
    const { format, samples } = await new DicomImage(file, { maxPixels: 1e6 }).frame(frame - 1);
    const image = imageFormatOf(format);
    return client.scoreAcquisition(header({ image, source: Source.SOURCE_ROWS }), [
      { type: 'rows', rows: { firstRow: 0, samples } },
    ]);
  }

  async function refused(
    promise: Promise<unknown>,
    reason: string,
    field: string,
    message: RegExp,
  ): Promise<void> {
    await assert.rejects(promise, (error) => {
      assert.ok(error instanceof SaladClientError);
      assert.equal(error.reason, reason, error.message);
      assert.deepEqual(
        error.fieldViolations.map((violation) => violation.field),
        [field],
      );
      assert.match(error.message, message);
      return true;
    });
  }

  const signed = Uint16Array.from(PLAIN.cells, (value) => (value - 2048) & 0xffff);
  const variants: readonly [string, Partial<DicomFileOptions>][] = [
    ['a window', { elements: WINDOW }],
    ['a sigmoid window', { elements: { ...WINDOW, '00281056 CS': 'SIGMOID' } }],
    ['an exact window', { elements: { ...WINDOW, '00281056 CS': 'LINEAR_EXACT' } }],
    ['a VOI LUT', { elements: { '00283010 SQ': [table(3000, 500, 12)] } }],
    ['a Modality LUT', { elements: { ...WINDOW, '00283000 SQ': [table(4096, 0, 12)] } }],
    ['a Modality LUT and no window', { elements: { '00283000 SQ': [table(4096, 0, 16)] } }],
    ['neither window nor LUT', {}],
    ['rescale', { elements: { ...WINDOW, '00281053 DS': '0.5', '00281052 DS': '100' } }],
    [
      'MONOCHROME1 and INVERSE',
      { photometric: 'MONOCHROME1', elements: { ...WINDOW, '20500020 CS': 'INVERSE' } },
    ],
    [
      'signed values',
      { cells: signed, isSigned: true, elements: { '00281050 DS': '0', '00281051 DS': '3000' } },
    ],
    ['Pixel Padding', { elements: { ...WINDOW, '00280120 US': [1500], '00280121 US': [2500] } }],
    ['8 bits', { cells: testCells(SIDE, SIDE, 8), bitsStored: 8 }],
    ['compression', { syntax: 'jpegLsLossless', elements: WINDOW }],
    ['pixels that are not square', { elements: { ...WINDOW, '00280034 IS': '2\\1' } }],
  ];
  for (const [what, options] of variants) {
    it(`scores as the same pixels sent as rows with the same header: ${what}`, async () => {
      const file = await dicomFile({ ...PLAIN, ...options });
      assert.deepEqual(essence(await asFile(file)), essence(await asRows(file)));
    });
  }

  it('scores differently with each of these headers: no field is ignored', async () => {
    const scores = new Map<number, string>();
    for (const [what, options] of variants) {
      // The same values, or the same picture: compression, and pixels that are not square where the image is stretched.
      if (/compression|square|signed/.test(what)) continue;
      const { imageScore } = await asFile(await dicomFile({ ...PLAIN, ...options }));
      assert.equal(scores.get(imageScore), undefined, what);
      scores.set(imageScore, what);
    }
  });

  it('uses the VOI and the photometric interpretation of the request instead of those of the file', async () => {
    const file = await dicomFile({ ...PLAIN, elements: WINDOW });
    const other = await dicomFile({ ...PLAIN, elements: { '00281050 DS': '1000', '00281051 DS': '800' } });
    const voi = { transform: { $case: 'window', value: { center: 1000, width: 800 } } };
    assert.deepEqual(essence(await asFile(file, { image: { voi } })), essence(await asFile(other)));
    const contradiction = await dicomFile({ ...PLAIN, elements: { ...WINDOW, '20500020 CS': 'INVERSE' } });
    await refused(asFile(contradiction), 'DICOM_UNSUPPORTED', 'encoded', /contradicts MONOCHROME2/);
    const photometricInterpretation = PhotometricInterpretation.PHOTOMETRIC_INTERPRETATION_MONOCHROME1;
    const inverted = await dicomFile({ ...PLAIN, photometric: 'MONOCHROME1', elements: WINDOW });
    assert.deepEqual(
      essence(await asFile(contradiction, { image: { photometricInterpretation } })),
      essence(await asFile(inverted)),
    );
  });

  it('refuses a request header that contradicts the file', async () => {
    const file = await dicomFile({ ...PLAIN, elements: WINDOW });
    await asFile(file, { image: { rows: SIDE, columns: SIDE, bitsAllocated: 16, bitsStored: 12 } });
    const rows = asFile(file, { image: { rows: 63 } });
    await refused(rows, 'HEADER_INVALID', 'header.image.rows', /is 63 in the header but 64 in the file/);
    const slope = asFile(file, { image: { rescaleSlope: 2 } });
    await refused(slope, 'HEADER_INVALID', 'header.image.rescale_slope', /leave it out/);
    const padding = asFile(file, { image: { pixelPadding: { first: 0, last: 1 } } });
    await refused(padding, 'HEADER_INVALID', 'header.image.pixel_padding', /leave it out/);
  });

  it('scores each frame on its own, and requires the number of the frame', async () => {
    const cells = Uint16Array.from([0, 1, 2].flatMap((seed) => [...testCells(SIDE, SIDE, 12, seed)]));
    const file = await dicomFile({ ...PLAIN, cells, frames: 3, syntax: 'rle', elements: WINDOW });
    const scores = [];
    for (const frame of [1, 2, 3]) {
      const aggregate = await asFile(file, {}, frame);
      assert.deepEqual(essence(aggregate), essence(await asRows(file, frame)));
      scores.push(aggregate.imageScore);
    }
    assert.equal(new Set(scores).size, 3);
    await refused(asFile(file), 'HEADER_INVALID', 'frame', /has 3 frames: set frame/);
    await refused(asFile(file, {}, 4), 'HEADER_INVALID', 'frame', /must be 1 to 3, is 4/);
    const png = Uint8Array.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]);
    await refused(asFile(png, {}, 1), 'HEADER_INVALID', 'frame', /only a DICOM file has frames/);
  });

  it('names the instance only on request', async () => {
    const elements = { ...WINDOW, '00200062 CS': 'L', '00185101 CS': 'MLO', '00100010 PN': 'DOE^JOHN' };
    const file = await dicomFile({ ...PLAIN, elements });
    assert.equal((await asFile(file)).dicomInstance, undefined);
    const { dicomInstance } = await asFile(file, { options: { dicomInstance: true } });
    assert.deepEqual(dicomInstance, {
      ...{ sopInstanceUid: '1.2.3.4.5', frame: 1, frames: 1, laterality: 'L', view: 'MLO' },
    });
  });

  it('refuses incomplete and unsupported files; the next file is scored', async () => {
    const file = await dicomFile({ ...PLAIN, elements: WINDOW });
    const expected = essence(await asFile(file));
    const cut = file.subarray(0, file.length / 2);
    await refused(asFile(cut), 'IMAGE_UNREADABLE', 'encoded', /truncated/);
    const colour = await dicomFile({ ...PLAIN, photometric: 'RGB', elements: { '00280002 US': [3] } });
    await refused(asFile(colour), 'DICOM_UNSUPPORTED', 'encoded', /not a grey image/);
    assert.deepEqual(essence(await asFile(file)), expected);
    // All memory was released.
    assert.equal(server.registry.budget.bytes, 0);
  });

  it('refuses an image above the pixel limit, one that needs more than all memory, and one without free memory', async () => {
    const file = await dicomFile({ ...PLAIN, elements: WINDOW });
    const large = await dicomFile({ ...PLAIN, rows: 256, columns: 256, cells: testCells(256, 256, 12) });
    const strict = await startSmall(models.path, { maxImagePixels: SIDE * SIDE - 1 });
    const narrow = await startSmall(models.path, { maxAcquisitionBytes: 1024 * 1024 });
    const { budget } = narrow.registry;
    const refusedBy = async (address: string, encoded: Uint8Array, reason: string) => {
      const other = new SaladClient(address, { retry: false });
      await assert.rejects(
        other.scoreImage(header(), { encoded }),
        (error) => error instanceof SaladClientError && error.reason === reason,
      );
      other.close();
    };
    try {
      await refusedBy(strict.address, file, 'IMAGE_TOO_LARGE');
      await refusedBy(narrow.address, large, 'IMAGE_TOO_LARGE');
      const release = budget.reserveBytes('another caller', budget.maxBytesOfUse - 10_000, 'decoding');
      await refusedBy(narrow.address, file, 'OVERLOADED');
      release();
      assert.equal(budget.bytes, 0);
    } finally {
      await strict.stop(0);
      await narrow.stop(0);
    }
  });
});
