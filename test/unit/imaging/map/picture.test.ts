import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import sharp from 'sharp';
import { drawPicture, greyJpeg, pictureOf, pictureSteps } from '../../../../src/imaging/map/picture.js';
import { defaultPixelFormat } from '../../../../src/imaging/pixel-format/pixel-format.js';
import { inTurns } from '../../../../src/util/turns.js';

describe('the picture of a source image', () => {
  /** 12 of 16 bits, from 1000 to 1900 from left to right. */
  const [rows, columns] = [40, 100];
  const values = Uint16Array.from({ length: rows * columns }, (_, at) => 1000 + 9.1 * (at % columns));
  const samples = new Uint8Array(values.buffer);
  const format = defaultPixelFormat(rows, columns, 16, 12);

  it('uses all grey levels for an image with any part of its range', () => {
    const picture = pictureOf(samples, format, { rows, columns });
    assert.equal(picture.length, rows * columns);
    assert.deepEqual([picture[0], picture[columns - 1]], [0, 255]);
    for (let column = 1; column < columns; column += 1) assert.ok(picture[column]! >= picture[column - 1]!);
  });

  it('keeps its range beside a marker: a few pixels far above the others are white', () => {
    const marked = values.slice();
    marked.fill(4095, 0, 10);
    const picture = pictureOf(new Uint8Array(marked.buffer), format, { rows, columns });
    const line = picture.subarray(20 * columns, 21 * columns);
    assert.ok(line[0]! < 5 && line[columns - 1]! > 250);
  });

  it('inverts MONOCHROME1', () => {
    const picture = pictureOf(samples, { ...format, monochrome1: true }, { rows, columns });
    assert.deepEqual([picture[0], picture[columns - 1]], [255, 0]);
  });

  it('keeps relative positions in a smaller size', () => {
    const small = pictureOf(samples, format, { rows: 10, columns: 25 });
    const own = pictureOf(samples, format, { rows, columns });
    for (let column = 1; column < 24; column += 1) {
      assert.ok(Math.abs(small[5 * 25 + column]! - own[20 * columns + 4 * column + 1]!) < 8);
    }
  });

  it('is the same from parts of any number of rows', () => {
    // Not the same in every row, and reduced to rows that parts share.
    const uneven = Uint8Array.from({ length: 2 * rows * columns }, (_, at) => (at * at * 31) % 16);
    const shape = { rows: 12, columns: 31 };
    const whole = pictureOf(uneven, format, shape);
    assert.ok(new Set(whole).size > 10);
    for (const part of [1, 7, 39]) {
      const picture = drawPicture(format, shape);
      for (let row = 0; row < rows; row += part) {
        picture.push(uneven.subarray(2 * row * columns, 2 * Math.min(rows, row + part) * columns));
      }
      assert.deepEqual(picture.finish(), whole, `${part} rows`);
    }
  });

  it('excludes the padding of the working image', async () => {
    const size = 16;
    const placement = { top: 4, left: 0, rows: 8, columns: 16 };
    const pixels = new Uint8Array(size * size).fill(7);
    for (let row = 0; row < 8; row += 1) pixels.fill(100 + row, (4 + row) * size, (5 + row) * size);
    const same = await inTurns(pictureSteps(pixels, size, placement, { rows: 8, columns: 16 }));
    assert.deepEqual(same, pixels.subarray(4 * size, 12 * size));
    const larger = await inTurns(pictureSteps(pixels, size, placement, { rows: 24, columns: 48 }));
    assert.ok(Math.min(...larger) === 100 && Math.max(...larger) === 107);
  });

  it('is a JPEG file of one channel for pages', async () => {
    const picture = pictureOf(samples, format, { rows, columns });
    const { data, info } = await sharp(await greyJpeg(picture, { rows, columns }))
      .toColourspace('b-w')
      .raw()
      .toBuffer({ resolveWithObject: true });
    assert.deepEqual([info.width, info.height, info.channels], [columns, rows, 1]);
    for (const [at, value] of data.entries()) assert.ok(Math.abs(value - picture[at]!) < 16);
  });
});
