import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import {
  type DicomFileOptions,
  dicomFile,
  encodeFrames,
  JPEG_EXTENDED_12,
  SYNTAX,
  type SyntaxName,
  testCells,
} from '../../../bench/support/dicom-file.js';
import { DicomImage } from '../../../src/dicom/decode.js';
import { SaladError } from '../../../src/errors/index.js';

const ROWS = 40;
const COLUMNS = 48;

async function decodeFirst(file: Uint8Array, maxPixels = 1_000_000): Promise<Uint8Array> {
  return (await new DicomImage(file, { maxPixels }).frame(0)).samples;
}

function refuses(file: Uint8Array, reason: SaladError['reason'], message: RegExp): Promise<void> {
  return assert.rejects(decodeFirst(file), (error) => {
    assert.ok(error instanceof SaladError);
    assert.equal(error.reason, reason, error.message);
    assert.match(error.message, message);
    return true;
  });
}

function optionsOf(syntax: SyntaxName): DicomFileOptions {
  if (syntax === 'jpegExtended') {
    const { rows, columns, encoded } = JPEG_EXTENDED_12;
    const cells = new Uint16Array(rows * columns);
    return { syntax, rows, columns, cells, bitsStored: 12, encoded: [encoded] };
  }
  const bits = syntax === 'jpegBaseline' ? 8 : 12;
  return { syntax, rows: ROWS, columns: COLUMNS, cells: testCells(ROWS, COLUMNS, bits), bitsStored: bits };
}

const COMPRESSED = (Object.keys(SYNTAX) as SyntaxName[]).filter(
  (syntax) => !['implicit', 'explicit', 'deflated', 'bigEndian'].includes(syntax),
);

describe('incomplete DICOM files', () => {
  for (const syntax of Object.keys(SYNTAX) as SyntaxName[]) {
    it(`a ${syntax} file is refused if it is cut anywhere`, async () => {
      const file = await dicomFile(optionsOf(syntax));
      await decodeFirst(file);
      for (const share of [0.1, 0.5, 0.9, 0.99]) {
        await refuses(file.subarray(0, Math.floor(share * file.length)), 'IMAGE_UNREADABLE', /DICOM file/);
      }
      await refuses(file.subarray(0, file.length - 1), 'IMAGE_UNREADABLE', /DICOM file/);
    });
  }

  for (const syntax of COMPRESSED) {
    it(`a ${syntax} frame that ends early in a complete file is refused`, async () => {
      const options = optionsOf(syntax);
      const [encoded] = options.encoded ?? (await encodeFrames(options));
      for (const share of [0.5, 0.9, 0.99]) {
        const cut = encoded!.subarray(0, Math.floor(share * encoded!.length));
        await refuses(await dicomFile({ ...options, encoded: [cut] }), 'IMAGE_UNREADABLE', /frame|segment/);
      }
    });
  }

  it('a JPEG frame that ends early but has an end marker is refused', async () => {
    for (const syntax of ['jpegBaseline', 'jpegExtended', 'jpegLosslessSv1', 'jpegLsLossless'] as const) {
      const options = optionsOf(syntax);
      const [encoded] = options.encoded ?? (await encodeFrames(options));
      const cut = Uint8Array.from([...encoded!.subarray(0, Math.floor(0.7 * encoded!.length)), 0xff, 0xd9]);
      await refuses(
        await dicomFile({ ...options, encoded: [cut] }),
        'IMAGE_UNREADABLE',
        /damaged|decoded|truncated/,
      );
    }
  });

  it('a frame of another size than the header says is refused before it is decoded', async () => {
    for (const syntax of COMPRESSED) {
      const options = optionsOf(syntax);
      const encoded = options.encoded ?? (await encodeFrames(options));
      const file = await dicomFile({ ...options, rows: options.rows + 8, encoded });
      const expected = syntax === 'rle' ? /truncated/ : /compressed as \d+ rows, .* the header says/;
      await refuses(file, 'IMAGE_UNREADABLE', expected);
    }
  });

  it('a second image behind the first is refused in a file that announces one', async () => {
    const options = optionsOf('jpeg2000Lossless');
    const [encoded] = await encodeFrames(options);
    const doubled = Buffer.concat([encoded!, encoded!]);
    await refuses(await dicomFile({ ...options, encoded: [doubled] }), 'IMAGE_UNREADABLE', /behind the end/);
  });

  it('pixels of more frames than the header says are refused, and a few bytes of padding are not', async () => {
    const cells = testCells(2 * ROWS, COLUMNS, 12);
    const file = await dicomFile({ rows: ROWS, columns: COLUMNS, cells, bitsStored: 12 });
    await refuses(file, 'IMAGE_UNREADABLE', /more than the \d+ of 1 frames/);
    const padded = await dicomFile({ rows: 3, columns: 3, cells: testCells(3, 4, 12), bitsStored: 12 });
    assert.equal((await decodeFirst(padded)).length, 18);
  });

  it('a data set that inflates to more than an image of the largest size is refused', async () => {
    const cells = new Uint8Array(9000 * 9000);
    const file = await dicomFile({ syntax: 'deflated', rows: 9000, columns: 9000, cells });
    await assert.rejects(
      async () => new DicomImage(file, { maxPixels: 100 }),
      (error) => error instanceof SaladError && error.reason === 'IMAGE_TOO_LARGE',
    );
  });
});

describe('DICOM files that cannot be scored', () => {
  const plain = { rows: 8, columns: 8, cells: testCells(8, 8, 12), bitsStored: 12 };
  const refusals: readonly [string, Partial<DicomFileOptions>, RegExp][] = [
    [
      'colour',
      { photometric: 'RGB', elements: { '00280002 US': [3] } },
      /not a grey image: .*RGB, 3 samples/,
    ],
    ['a palette', { photometric: 'PALETTE COLOR' }, /PALETTE COLOR/],
    [
      'an unknown photometric interpretation',
      { photometric: 'DOE^JOHN' },
      /photometric interpretation unknown/,
    ],
    ['no photometric interpretation', { photometric: '' }, /photometric interpretation missing/],
    ['no rows', { elements: { '00280010 US': '' } }, /number of rows \(0028,0010\) is missing/],
    ['0 columns', { elements: { '00280011 US': [0] } }, /number of columns \(0028,0011\) is 0/],
    ['no frames', { elements: { '00280008 IS': '0' } }, /Number of Frames/],
    ['1 bit', { elements: { '00280100 US': [1] } }, /Bits Allocated \(0028,0100\) is 1, not 8 or 16/],
    ['17 bits', { elements: { '00280101 US': [17] } }, /Bits Stored \(0028,0101\) is 17/],
    ['pixels in the high bits', { elements: { '00280102 US': [15] } }, /High Bit \(0028,0102\) is 15/],
    [
      'pixels that are neither signed nor unsigned',
      { elements: { '00280103 US': [2] } },
      /Pixel Representation/,
    ],
  ];
  for (const [what, options, message] of refusals) {
    it(`are refused with the reason: ${what}`, async () => {
      await refuses(await dicomFile({ ...plain, ...options }), 'DICOM_UNSUPPORTED', message);
    });
  }

  it('are refused with the reason: another transfer syntax, no pixels, too many pixels', async () => {
    const file = Buffer.from(await dicomFile(plain));
    const uid = Buffer.from(file);
    uid.write('1.2.840.10008.1.2.9', file.indexOf('1.2.840.10008.1.2.1\0'), 'latin1');
    await refuses(uid, 'DICOM_UNSUPPORTED', /transfer syntax \(1\.2\.840\.10008\.1\.2\.9\) is not supported/);
    const withoutPixels = file.subarray(0, file.indexOf(Buffer.from('e07f1000', 'hex')));
    await refuses(withoutPixels, 'DICOM_UNSUPPORTED', /holds no image: Pixel Data \(7FE0,0010\) is missing/);
    await assert.rejects(
      decodeFirst(file, 63),
      (error) => error instanceof SaladError && error.reason === 'IMAGE_TOO_LARGE',
    );
  });

  it('are refused with all reasons at once', async () => {
    const elements = { '00280010 US': '', '00280102 US': [15] } as const;
    const { facts } = new DicomImage(await dicomFile({ ...plain, elements }), { maxPixels: 100 }).description;
    assert.equal(facts.reasons.length, 2);
  });
});
