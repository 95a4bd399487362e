import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { baselineAurocs, measureBaselines } from '../../../../src/training/evaluate/baselines.js';

/** An 8-bit image from a function of its grey values. */
function image(rows: number, columns: number, value: (row: number, column: number) => number) {
  const samples = Uint8Array.from({ length: rows * columns }, (_, at) =>
    value(Math.floor(at / columns), at % columns),
  );
  return { rows, columns, bitsAllocated: 8, bitsStored: 8, samples } as const;
}

describe('one-number baselines', () => {
  it('measure grey value, blur of the whole image and of its middle half, and file size', () => {
    // Rows 0 and 7 differ from the rest; the inside is constant.
    const border = image(8, 8, (row) => (row === 0 || row === 7 ? 255 : 51));
    assert.deepEqual(measureBaselines(border, 123), {
      meanGrey: (2 + 6 * 0.2) / 8,
      blurWhole: 408 / 7 / 255,
      blurCentre: 0,
      fileSize: 123,
    });
    // Stripes in the middle only: columns 2 to 5, rows 2 to 5, with three row differences of 255.
    const middle = image(8, 8, (row, column) =>
      row >= 2 && row < 6 && column >= 2 && column < 6 && row % 2 === 1 ? 255 : 0,
    );
    assert.equal(measureBaselines(middle, 1).blurCentre, 1);
  });

  it('are the same for 8 and 16 bits', () => {
    const narrow = image(6, 5, (row, column) => row * 40 + column);
    const wide = Uint16Array.from(narrow.samples, (value) => value * 257);
    // At an odd offset in a larger buffer, as a decoder may return it.
    const bytes = new Uint8Array(wide.byteLength + 1);
    bytes.set(new Uint8Array(wide.buffer), 1);
    const samples = bytes.subarray(1);
    const { fileSize: _, ...expected } = measureBaselines(narrow, 1);
    const { fileSize: __, ...found } = measureBaselines(
      { ...narrow, bitsAllocated: 16, bitsStored: 16, samples },
      2,
    );
    for (const [name, value] of Object.entries(expected)) {
      assert.ok(Math.abs(value - found[name as keyof typeof found]) < 1e-12, name);
    }
  });

  it('have an AUROC in the better direction', () => {
    const of = (meanGrey: number, fileSize: number) => ({
      floors: { meanGrey, blurWhole: 1, blurCentre: 1, fileSize },
    });
    assert.deepEqual(baselineAurocs([of(5, 1), of(6, 2)], [of(1, 3), of(5.5, 4)]), {
      meanGrey: 0.75,
      blurWhole: 0.5,
      blurCentre: 0.5,
      fileSize: 1,
    });
  });
});
