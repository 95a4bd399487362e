import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, it } from 'mocha';
import sharp from 'sharp';
import { type ErrorReason, SaladError } from '../../../../src/errors/index.js';
import { decodeImage } from '../../../../src/imaging/decode/decode.js';
import { flatJpeg } from '../../../support/images/jpeg.js';
import { GREY, GREY_ALPHA, png, RGB, RGBA } from '../../../support/images/png.js';
import { radiographs } from '../../../support/images/shared-data.js';

const LIMITS = { maxPixels: 1_000_000 };

function stored(image: { bitsAllocated: 8 | 16; samples: Uint8Array }): number[] {
  if (image.bitsAllocated === 8) return [...image.samples];
  const view = new DataView(image.samples.buffer, image.samples.byteOffset, image.samples.byteLength);
  return Array.from({ length: image.samples.length / 2 }, (_, i) => view.getUint16(2 * i, true));
}

async function rejects(bytes: Uint8Array, reason: ErrorReason, maxPixels = LIMITS.maxPixels): Promise<void> {
  await assert.rejects(
    decodeImage(bytes, { maxPixels }),
    (error: unknown) => error instanceof SaladError && error.reason === reason,
  );
}

describe('decodeImage', () => {
  it('decodes an 8-bit grey PNG to its stored values', async () => {
    const values = Array.from({ length: 256 }, (_, i) => i);
    const image = await decodeImage(png({ rows: 8, columns: 32, bits: 8, colourType: GREY, values }), LIMITS);
    assert.deepEqual([image.rows, image.columns, image.bitsAllocated, image.bitsStored], [8, 32, 8, 8]);
    assert.deepEqual(stored(image), values);
  });

  it('decodes a 16-bit grey PNG to its stored values', async () => {
    const values = Array.from({ length: 65_536 }, (_, i) => i);
    const image = await decodeImage(
      png({ rows: 256, columns: 256, bits: 16, colourType: GREY, values }),
      LIMITS,
    );
    assert.deepEqual([image.rows, image.columns, image.bitsAllocated, image.bitsStored], [256, 256, 16, 16]);
    assert.deepEqual(stored(image), values);
  });

  it('ignores gamma, so that stored values are unchanged', async () => {
    const gamma = Buffer.alloc(4);
    gamma.writeUInt32BE(100_000, 0);
    for (const bits of [8, 16] as const) {
      const values = Array.from({ length: 64 }, (_, i) => i * (bits === 8 ? 4 : 1040));
      const chunks = [['gAMA', gamma]] as const;
      const image = await decodeImage(
        png({ rows: 8, columns: 8, bits, colourType: GREY, values, chunks }),
        LIMITS,
      );
      assert.deepEqual(stored(image), values);
    }
  });

  it('keeps grey stored as RGB and converts colour to luminance, 8 and 16 bits', async () => {
    for (const bits of [8, 16] as const) {
      const top = bits === 8 ? 255 : 65_535;
      const values = [17, 17, 17, top, 0, 0, 0, top, 0, 0, 0, top];
      const image = await decodeImage(png({ rows: 2, columns: 2, bits, colourType: RGB, values }), LIMITS);
      assert.deepEqual(stored(image), [17, ...[0.299, 0.587, 0.114].map((w) => Math.round(w * top))]);
    }
  });

  it('blends transparent pixels over black', async () => {
    const grey = [200, 255, 200, 0, 200, 51, 10, 255];
    const image = png({ rows: 2, columns: 2, bits: 8, colourType: GREY_ALPHA, values: grey });
    assert.deepEqual(stored(await decodeImage(image, LIMITS)), [200, 0, 40, 10]);
    const grey16 = [60_001, 65_535, 60_001, 0, 1, 65_535, 50_000, 13_107];
    const wideGrey = png({ rows: 2, columns: 2, bits: 16, colourType: GREY_ALPHA, values: grey16 });
    assert.deepEqual(stored(await decodeImage(wideGrey, LIMITS)), [60_001, 0, 1, 10_000]);
    const colour = [60_000, 60_000, 60_000, 65_535, 60_000, 60_000, 60_000, 0];
    const wide = png({ rows: 1, columns: 2, bits: 16, colourType: RGBA, values: colour });
    assert.deepEqual(stored(await decodeImage(wide, LIMITS)), [60_000, 0]);
  });

  it('decodes a grey JPEG and ignores its EXIF orientation', async () => {
    const flat = { create: { width: 24, height: 16, channels: 3, background: '#646464' } } as const;
    const bytes = await sharp(flat).toColourspace('b-w').withMetadata({ orientation: 6 }).jpeg().toBuffer();
    assert.equal((await sharp(bytes).metadata()).orientation, 6);
    const image = await decodeImage(bytes, LIMITS);
    assert.deepEqual([image.rows, image.columns, image.bitsAllocated], [16, 24, 8]);
    assert.deepEqual(new Set(image.samples), new Set([100]));
  });

  it('decodes a colour JPEG to luminance', async () => {
    const flat = { create: { width: 16, height: 16, channels: 3, background: '#ff0000' } } as const;
    const image = await decodeImage(await sharp(flat).jpeg({ quality: 100 }).toBuffer(), LIMITS);
    assert.equal(image.samples.length, 256);
    for (const value of image.samples) assert.ok(Math.abs(value - 76) <= 2);
  });

  it('decodes hand-made JPEGs to the values of their blocks', async () => {
    for (const value of [0, 1, 100, 127, 128, 129, 200, 255]) {
      assert.deepEqual(
        new Set(stored(await decodeImage(flatJpeg({ values: [value] }), LIMITS))),
        new Set([value]),
      );
    }
  });

  it('converts CMYK as ink, without a colour profile', async () => {
    // Cyan, magenta, yellow, black, and the grey of that on white paper.
    for (const [ink, grey] of [
      [[0, 0, 0, 255], 0],
      [[0, 0, 0, 128], 127],
      [[0, 0, 0, 0], 255],
      [[255, 0, 0, 0], Math.round((0.587 + 0.114) * 255)],
      [[0, 255, 0, 0], Math.round((0.299 + 0.114) * 255)],
      [[50, 50, 50, 100], Math.round((205 * 155) / 255)],
    ] as const) {
      // Files of Adobe contain inverted values.
      const values = ink.map((value) => 255 - value);
      const image = await decodeImage(flatJpeg({ values, adobe: true }), LIMITS);
      assert.deepEqual([image.bitsAllocated, new Set(stored(image))], [8, new Set([grey])]);
    }
  });

  it('refuses more than 65,535 rows or columns from the header alone', async () => {
    for (const [rows, columns] of [
      [1, 60_000_000],
      [60_000_000, 1],
      [65_536, 1],
    ] as const) {
      const long = png({ rows, columns, bits: 8, colourType: GREY, values: [1] });
      await rejects(long, 'IMAGE_TOO_LARGE', Number.MAX_SAFE_INTEGER);
    }
    const values = new Array(65_535).fill(3);
    const longest = png({ rows: 65_535, columns: 1, bits: 8, colourType: GREY, values });
    assert.equal((await decodeImage(longest, LIMITS)).rows, 65_535);
  });

  it('reserves the memory of decoding for each kind of file', async () => {
    const [side, mib] = [1024, 1024 * 1024];
    const raw = { raw: { width: side, height: side, channels: 3 } } as const;
    const grey = sharp(new Uint8Array(3 * side * side), raw).toColourspace('b-w');
    const colour = sharp(new Uint8Array(3 * side * side), raw);
    const deep = sharp(new Uint16Array(3 * side * side), raw)
      .toColourspace('rgb16')
      .ensureAlpha();
    // Channels that come out and the grey made of them, what the decoder keeps of the whole image, in bytes a pixel.
    for (const [name, file, bytes] of [
      ['grey PNG', grey.clone().png(), 1],
      ['colour PNG', colour.clone().png(), 3 + 1],
      ['16-bit RGBA PNG', deep.clone().png(), 8 + 2],
      ['interlaced 16-bit RGBA PNG', deep.clone().png({ progressive: true }), 8 + 2 + 8],
      ['grey JPEG', grey.clone().jpeg(), 1],
      ['colour JPEG', colour.clone().jpeg({ chromaSubsampling: '4:4:4' }), 3 + 1],
      ['progressive grey JPEG', grey.clone().jpeg({ progressive: true }), 1 + 2.125],
      [
        'progressive colour JPEG',
        colour.clone().jpeg({ chromaSubsampling: '4:4:4', progressive: true }),
        3 + 1 + 3 * 2.125,
      ],
    ] as const) {
      let reserved = 0;
      await decodeImage(await file.toBuffer(), {
        maxPixels: side * side,
        reserve: (amount) => {
          reserved = amount;
        },
      });
      // Beside it: 2 MiB, 320 rows where the decoder gives row by row, and pieces of the inflated data.
      const least = bytes * mib;
      assert.ok(reserved >= least && reserved <= least + 13 * mib, `${name}: ${reserved / mib} MiB`);
    }
  });

  it('does not cache pixels', () => {
    assert.deepEqual(sharp.cache().items, { current: 0, max: 0 });
  });

  it('refuses too many pixels from the header alone', async () => {
    const bomb = png({ rows: 50_000, columns: 50_000, bits: 16, colourType: RGBA, values: [1] });
    await rejects(bomb, 'IMAGE_TOO_LARGE');
    const small = png({ rows: 2, columns: 3, bits: 8, colourType: GREY, values: [1, 2, 3, 4, 5, 6] });
    await rejects(small, 'IMAGE_TOO_LARGE', 5);
    assert.equal((await decodeImage(small, { maxPixels: 6 })).samples.length, 6);
  });

  it('refuses other formats than PNG and JPEG', async () => {
    const flat = { create: { width: 8, height: 8, channels: 3, background: '#123456' } } as const;
    await rejects(await sharp(flat).webp().toBuffer(), 'IMAGE_UNREADABLE');
    await rejects(await sharp(flat).tiff().toBuffer(), 'IMAGE_UNREADABLE');
    await rejects(
      Buffer.from('<svg xmlns="http://www.w3.org/2000/svg" width="8" height="8"/>'),
      'IMAGE_UNREADABLE',
    );
    await rejects(new Uint8Array(0), 'IMAGE_UNREADABLE');
    await rejects(Buffer.from('89504e470d0a1a0a', 'hex'), 'IMAGE_UNREADABLE');
  });

  it('refuses truncated files', async () => {
    const values = Array.from({ length: 4096 }, (_, i) => (i * 2_654_435_761) % 251);
    const whole = png({ rows: 64, columns: 64, bits: 8, colourType: GREY, values });
    const noisy = { raw: { width: 64, height: 64, channels: 1 } } as const;
    const jpeg = await sharp(Uint8Array.from(values), noisy).jpeg().toBuffer();
    for (const bytes of [whole, jpeg]) {
      for (const share of [0.05, 0.3, 0.6, 0.9]) {
        await rejects(bytes.subarray(0, Math.floor(bytes.length * share)), 'IMAGE_UNREADABLE');
      }
    }
  });

  it('decodes corrupt bytes or throws a SaladError', async () => {
    const values = Array.from({ length: 1024 }, (_, i) => (i * 2_654_435_761) % 251);
    const raw = { raw: { width: 32, height: 32, channels: 1 } } as const;
    const files = [
      png({ rows: 32, columns: 32, bits: 8, colourType: GREY, values }),
      png({ rows: 32, columns: 32, bits: 16, colourType: GREY, values }),
      await sharp(Uint8Array.from(values), raw).jpeg().toBuffer(),
    ];
    const damage = fc.array(fc.tuple(fc.nat(), fc.integer({ min: 0, max: 255 })), {
      minLength: 1,
      maxLength: 6,
    });
    let refused = 0;
    await fc.assert(
      fc.asyncProperty(fc.constantFrom(...files), damage, async (file, changes) => {
        const bytes = Uint8Array.from(file);
        for (const [at, value] of changes) bytes[at % bytes.length] = value;
        try {
          const image = await decodeImage(bytes, LIMITS);
          assert.equal(image.samples.length, image.rows * image.columns * (image.bitsAllocated / 8));
        } catch (error) {
          assert.ok(error instanceof SaladError, String(error));
          refused++;
        }
      }),
      { seed: 9, numRuns: 300 },
    );
    assert.ok(refused > 30, `only ${refused} refused`);
  });

  it('decodes real radiographs to the same values as another decoder', async function () {
    for (const file of radiographs(this, 'zhanglab/train/normal', 3)) {
      const bytes = readFileSync(file);
      const image = await decodeImage(bytes, LIMITS);
      const expected = await sharp(bytes).extractChannel(0).raw().toBuffer();
      assert.deepEqual(Buffer.from(image.samples), expected);
    }
  });
});
