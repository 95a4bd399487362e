import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { describe, it } from 'mocha';
import {
  type DicomFileOptions,
  dicomFile,
  JPEG_EXTENDED_12,
  type SyntaxName,
  testCells,
} from '../../../bench/support/dicom-file.js';
import { DicomImage } from '../../../src/dicom/decode.js';

const ROWS = 24;
const COLUMNS = 31;
const LIMITS = { maxPixels: 1_000_000 };

const NATIVE = ['implicit', 'explicit', 'deflated', 'bigEndian'] as const;
const LOSSLESS = ['jpegLossless', 'jpegLosslessSv1', 'jpegLsLossless', 'jpeg2000Lossless', 'rle'] as const;

async function decodeFrames(file: Uint8Array): Promise<Uint8Array> {
  const image = new DicomImage(file, LIMITS);
  const frames: Uint8Array[] = [];
  for (let frame = 0; frame < image.description.facts.frames; frame++) {
    frames.push((await image.frame(frame)).samples);
  }
  return Buffer.concat(frames);
}

function bytesOf(cells: Uint8Array | Uint16Array): Buffer {
  return Buffer.from(cells.buffer, cells.byteOffset, cells.byteLength);
}

/** Values of two's complement in cells that are sign-extended to 16 bits, as modalities write them. */
function signed(bits: number): Uint16Array {
  return Uint16Array.from(testCells(ROWS, COLUMNS, bits), (value) => (value - 2 ** (bits - 1)) & 0xffff);
}

function largestDifference(decoded: Uint8Array, cells: Uint8Array | Uint16Array): number {
  const view = new DataView(decoded.buffer, decoded.byteOffset, decoded.byteLength);
  const is8 = cells.BYTES_PER_ELEMENT === 1;
  return Math.max(
    ...cells.map((cell, i) => Math.abs(cell - (is8 ? decoded[i]! : view.getUint16(2 * i, true)))),
  );
}

describe('DICOM transfer syntaxes', () => {
  const depths: readonly [string, Uint8Array | Uint16Array, Partial<DicomFileOptions>][] = [
    ['8 bits', testCells(ROWS, COLUMNS, 8), {}],
    ['10 of 16 bits', testCells(ROWS, COLUMNS, 10), { bitsStored: 10 }],
    ['16 bits', testCells(ROWS, COLUMNS, 16), {}],
    ['12 of 16 bits, signed', signed(12), { bitsStored: 12, isSigned: true }],
  ];
  for (const syntax of [...NATIVE, ...LOSSLESS]) {
    for (const [depth, cells, options] of depths) {
      it(`${syntax} decodes every cell exactly, ${depth}`, async () => {
        const file = await dicomFile({ syntax, rows: ROWS, columns: COLUMNS, cells, ...options });
        assert.deepEqual(Buffer.from(await decodeFrames(file)), bytesOf(cells));
      });
    }
  }

  const lossy: readonly [SyntaxName, number, number][] = [
    ['jpegBaseline', 8, 6],
    ['jpegExtended', 8, 6],
    ['jpegLsNear', 12, 2],
    ['jpeg2000', 12, 16],
  ];
  for (const [syntax, bits, tolerance] of lossy) {
    it(`${syntax} decodes every cell within ${tolerance}, ${bits} bits`, async () => {
      const cells = testCells(ROWS, COLUMNS, bits);
      const file = await dicomFile({ syntax, rows: ROWS, columns: COLUMNS, cells, bitsStored: bits });
      assert.ok(largestDifference(await decodeFrames(file), cells) <= tolerance);
    });
  }

  it('JPEG of 12 bits decodes as another decoder does, and keeps values above Bits Stored', async () => {
    const { rows, columns, encoded, sha256 } = JPEG_EXTENDED_12;
    const cells = new Uint16Array(rows * columns);
    const options = { syntax: 'jpegExtended', rows, columns, cells, encoded: [encoded] } as const;
    const file = await dicomFile({ ...options, bitsStored: 12 });
    assert.equal(
      createHash('sha256')
        .update(await decodeFrames(file))
        .digest('hex'),
      sha256,
    );
    const narrow = new DicomImage(await dicomFile({ ...options, bitsStored: 10 }), LIMITS);
    const { format } = await narrow.frame(0);
    assert.equal(format.bitsStored, 12);
  });

  it('reads a data set without prefix and file meta information', async () => {
    const cells = testCells(ROWS, COLUMNS, 10);
    for (const syntax of ['implicit', 'explicit'] as const) {
      const file = await dicomFile({
        syntax,
        rows: ROWS,
        columns: COLUMNS,
        cells,
        bitsStored: 10,
        bare: true,
      });
      assert.deepEqual(Buffer.from(await decodeFrames(file)), bytesOf(cells));
    }
  });

  const frames = 3;
  const cells = Uint16Array.from([0, 1, 2].flatMap((seed) => [...testCells(ROWS, COLUMNS, 12, seed)]));
  const several = { rows: ROWS, columns: COLUMNS, cells, frames, bitsStored: 12 };

  for (const syntax of [...NATIVE, ...LOSSLESS]) {
    it(`${syntax} decodes every frame`, async () => {
      assert.deepEqual(
        Buffer.from(await decodeFrames(await dicomFile({ ...several, syntax }))),
        bytesOf(cells),
      );
    });
  }

  it('frames of an odd number of 8-bit pixels in big-endian words are separated', async () => {
    const odd = Uint8Array.from({ length: 3 * 15 }, (_, i) => (7 * i) & 0xff);
    const file = await dicomFile({ syntax: 'bigEndian', rows: 3, columns: 5, cells: odd, frames: 3 });
    assert.deepEqual([...(await decodeFrames(file))], [...odd]);
  });

  for (const offsetTable of ['basic', 'none'] as const) {
    it(`frames of several fragments are separated, with offset table: ${offsetTable}`, async () => {
      const file = await dicomFile({ ...several, syntax: 'jpeg2000Lossless', fragments: 3, offsetTable });
      assert.deepEqual(Buffer.from(await decodeFrames(file)), bytesOf(cells));
    });
  }

  it('frames that cannot be separated are refused', async () => {
    const file = await dicomFile({ ...several, syntax: 'rle', fragments: 2 });
    await assert.rejects(decodeFrames(file), /3 frames cannot be separated in 6 fragments/);
  });
});
