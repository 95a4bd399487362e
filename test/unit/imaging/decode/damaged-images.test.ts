import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, it } from 'mocha';
import sharp, { type JpegOptions } from 'sharp';
import { SaladError } from '../../../../src/errors/index.js';
import { decodeImage } from '../../../../src/imaging/decode/decode.js';
import { makePhantom } from '../../../../src/phantom/phantom.js';
import {
  endedEarly,
  scanStarts,
  truncated,
  withFrame,
  withGap,
  withHeader,
  withZeros,
} from '../../../support/images/damage.js';
import { chunk, GREY, PALETTE, png, RGB } from '../../../support/images/png.js';
import { radiographs } from '../../../support/images/shared-data.js';

const LIMITS = { maxPixels: 1_000_000 };
const SIDE = 192;

/** A phantom radiograph: what JPEG makes of it is like what it makes of a real one. */
function pixels(seed: number): Uint8Array {
  const { samples } = makePhantom({ seed, lesion: 'none', size: SIDE });
  return Uint8Array.from(samples, (value) => value >> 4);
}

function jpegOf(options: JpegOptions, seed = 1, isGrey = true): Promise<Buffer> {
  const image = sharp(pixels(seed), { raw: { width: SIDE, height: SIDE, channels: 1 } });
  return (isGrey ? image : image.toColourspace('srgb')).jpeg(options).toBuffer();
}

const KINDS: readonly (readonly [string, JpegOptions])[] = [
  ['baseline', { quality: 85 }],
  ['baseline with the standard tables', { quality: 95, optimiseCoding: false }],
  ['progressive', { quality: 85, progressive: true }],
];

const greyPng = (seed: number) =>
  png({ rows: SIDE, columns: SIDE, bits: 8, colourType: GREY, values: [...pixels(seed)] });

async function refuses(bytes: Uint8Array, what: string, why = /./): Promise<void> {
  await assert.rejects(
    decodeImage(bytes, LIMITS),
    (error: unknown) =>
      error instanceof SaladError && error.reason === 'IMAGE_UNREADABLE' && why.test(error.message),
    what,
  );
}

describe('a damaged JPEG', () => {
  for (const [kind, options] of KINDS) {
    it(`is refused, ${kind}: cut off, with an early end marker, with zeros for a sector or without it`, async () => {
      for (let seed = 1; seed <= 4; seed++) {
        const whole = await jpegOf(options, seed, seed % 2 === 0);
        assert.equal((await decodeImage(whole, LIMITS)).samples.length, SIDE * SIDE);
        for (const at of [0.4, 0.6, 0.8]) {
          await refuses(truncated(whole, at), 'cut off');
          await refuses(endedEarly(whole, at), 'closed early');
          await refuses(withZeros(whole, at), 'zeros');
          await refuses(withGap(whole, at), 'gap');
        }
      }
    });

    it(`is refused, ${kind}: a frame larger or smaller than its data`, async () => {
      const whole = await jpegOf(options);
      await refuses(
        withFrame(whole, (rows, columns) => [2 * rows, columns]),
        'taller',
      );
      await refuses(
        withFrame(whole, (rows, columns) => [rows / 2, columns]),
        'shorter',
      );
      await refuses(
        withFrame(whole, (rows, columns) => [rows, columns + 64]),
        'wider',
      );
      await refuses(
        withFrame(whole, (rows, columns) => [rows, columns - 64]),
        'narrower',
      );
      await refuses(
        withFrame(whole, (_rows, columns) => [0, columns]),
        'no rows',
      );
    });
  }

  it('is refused where one of its scans is missing, repeated or out of order', async () => {
    const whole = await jpegOf({ progressive: true });
    const { starts, end } = scanStarts(whole);
    assert.ok(starts.length >= 4);
    const part = (index: number) => whole.subarray(starts[index], starts[index + 1] ?? end);
    const scans = starts.map((_, index) => part(index));
    const close = Buffer.from([0xff, 0xd9]);
    const joined = (parts: readonly Uint8Array[]) =>
      Buffer.concat([whole.subarray(0, starts[0]), ...parts, close]);
    assert.deepEqual(joined(scans), Buffer.from(whole));
    await refuses(joined(scans.slice(0, -1)), 'last scan missing', /scans are missing/);
    await refuses(joined([...scans, scans.at(-1)!]), 'last scan twice', /twice, or out of order/);
    await refuses(joined([scans[0]!, scans.at(-1)!]), 'refinement of nothing', /out of order/);
  });

  it('is refused where a restart marker is missing or out of order', async () => {
    // sharp writes none: a scan of two blocks, each a difference of zero and an end of block, a marker between them.
    const [soi, eoi] = [Buffer.from('ffd8', 'hex'), Buffer.from('ffd9', 'hex')];
    const segment = (marker: number, body: Uint8Array) =>
      Buffer.concat([Buffer.from([0xff, marker, (body.length + 2) >> 8, (body.length + 2) & 255]), body]);
    const tables = [0x00, 0x10].map((place) =>
      segment(0xc4, Buffer.concat([Buffer.from([place, 1]), Buffer.alloc(15), Buffer.from([0])])),
    );
    const head = Buffer.concat([
      soi,
      segment(0xdb, Buffer.concat([Buffer.from([0]), Buffer.alloc(64, 1)])),
      segment(0xc0, Buffer.from([8, 0, 8, 0, 24, 1, 1, 0x11, 0])),
      ...tables,
      segment(0xdd, Buffer.from([0, 1])),
      segment(0xda, Buffer.from([1, 1, 0, 0, 63, 0])),
    ]);
    const block = Buffer.from([0b00111111]);
    const file = (...between: number[]) =>
      Buffer.concat([head, ...between.flatMap((number) => [block, Buffer.from([0xff, number])]), block, eoi]);
    const image = await decodeImage(file(0xd0, 0xd1), LIMITS);
    assert.deepEqual(new Set(image.samples), new Set([128]));
    await refuses(file(0xd0), 'one missing');
    await refuses(file(0xd1, 0xd0), 'out of order', /restart marker/);
    await refuses(file(0xd0, 0xd1, 0xd2), 'one too many');
  });

  it('is refused where its headers are cut off, missing or of another process', async () => {
    const whole = await jpegOf({});
    const { starts, end } = scanStarts(whole);
    const scan = whole.indexOf(Buffer.from([0xff, 0xda]));
    await refuses(whole.subarray(0, 3), 'a signature alone');
    await refuses(Buffer.concat([whole.subarray(0, scan), whole.subarray(end)]), 'no scan', /no scan/);
    const withoutTables = Buffer.from(whole);
    for (let at = 2; at < scan; at += 2 + whole.readUInt16BE(at + 2)) {
      // An application segment in place of the Huffman tables.
      if (whole[at + 1] === 0xc4) withoutTables[at + 1] = 0xef;
    }
    await refuses(withoutTables, 'no Huffman tables', /Huffman table is missing/);
    for (const [process, why] of [
      [0xc3, /not supported/],
      [0xc9, /arithmetic-coded/],
      [0xca, /arithmetic-coded/],
    ] as const) {
      const other = Buffer.from(whole);
      other[whole.indexOf(Buffer.from([0xff, 0xc0])) + 1] = process;
      await refuses(other, `process ${process.toString(16)}`, why);
    }
    assert.equal(starts.length, 1);
  });
});

describe('a damaged PNG', () => {
  it('is refused where it is cut off, also after its last pixel', async () => {
    const whole = greyPng(1);
    for (const share of [0.02, 0.3, 0.7, 0.95]) await refuses(truncated(whole, share), 'cut off');
    await refuses(whole.subarray(0, whole.length - 12), 'no end chunk', /cut off/);
    await refuses(whole.subarray(0, whole.length - 1), 'half an end chunk', /cut off/);
  });

  it('is refused where any checksum is wrong, also that of a chunk without pixels', async () => {
    const text = Buffer.from('Comment\0anything');
    const whole = png({
      rows: 4,
      columns: 4,
      bits: 8,
      colourType: GREY,
      values: new Array(16).fill(9),
      chunks: [['tEXt', text]],
    });
    await decodeImage(whole, LIMITS);
    for (let at = 8; at < whole.length; at++) {
      const damaged = Buffer.from(whole);
      damaged[at] = damaged[at]! ^ 0x10;
      await refuses(damaged, `byte ${at}`);
    }
  });

  it('is refused where its pixel data does not match its header', async () => {
    const whole = greyPng(2);
    await refuses(
      withHeader(whole, (rows, columns) => [2 * rows, columns]),
      'taller',
      /less pixel data/,
    );
    await refuses(
      withHeader(whole, (rows, columns) => [rows / 2, columns]),
      'shorter',
      /more pixel data/,
    );
    await refuses(
      withHeader(whole, (rows, columns) => [rows, columns / 2]),
      'narrower',
      /more pixel data/,
    );
    const last = (data: Buffer) => {
      data[data.length - 1] = data[data.length - 1]! ^ 1;
      return data;
    };
    // The small one is inflated at once, the large one in pieces.
    for (const [rows, columns] of [
      [8, 8],
      [1100, 1000],
    ] as const) {
      const values = Array.from({ length: rows * columns }, (_, i) => (i >> 3) & 255);
      const parts = { rows, columns, bits: 8, colourType: GREY, values } as const;
      const limits = { maxPixels: 2_000_000 };
      assert.equal((await decodeImage(png(parts), limits)).rows, rows);
      for (const [what, compressed, why] of [
        ['wrong Adler-32', (data: Buffer) => [last(data)], /inflated/],
        ['half', (data: Buffer) => [data.subarray(0, data.length >> 1)], /inflated/],
        ['behind', (data: Buffer) => [Buffer.concat([data, Buffer.from('more')])], /other data follow/],
        ['none', () => [], /no pixel data/],
      ] as const) {
        const damaged = decodeImage(png({ ...parts, compressed }), limits);
        await assert.rejects(damaged, { reason: 'IMAGE_UNREADABLE', message: why }, `${what}, ${rows} rows`);
      }
      for (const [change, why] of [
        [-1, /more pixel data/],
        [1, /less pixel data/],
      ] as const) {
        const other = withHeader(png(parts), (r, c) => [r + change, c]);
        await assert.rejects(decodeImage(other, limits), { reason: 'IMAGE_UNREADABLE', message: why });
      }
    }
  });

  it('is refused where chunks are out of order, unknown and critical, or of an animation', async () => {
    const parts = { rows: 2, columns: 2, bits: 8, colourType: GREY, values: [1, 2, 3, 4] } as const;
    const whole = png(parts);
    const [head, data, end] = [whole.subarray(0, 33), whole.subarray(33, -12), whole.subarray(-12)];
    await refuses(
      Buffer.concat([head.subarray(0, 8), data, head.subarray(8), end]),
      'data first',
      /no header/,
    );
    const text = chunk('tEXt', Buffer.from('a\0b'));
    await refuses(Buffer.concat([head, data, text, data, end]), 'two runs', /one run/);
    await refuses(
      Buffer.concat([head, chunk('ABCD', new Uint8Array(1)), data, end]),
      'critical',
      /unknown critical/,
    );
    assert.equal((await decodeImage(Buffer.concat([head, text, data, end]), LIMITS)).samples[3], 4);
    const animation = Buffer.concat([head, chunk('acTL', new Uint8Array(8)), data, end]);
    await refuses(animation, 'APNG', /several images/);
    await refuses(png({ ...parts, colourType: PALETTE }), 'no palette', /no palette/);
  });

  it('is decoded where it is interlaced, and refused where its passes are not whole', async () => {
    for (const [rows, columns] of [
      [1, 1],
      [3, 5],
      [8, 8],
      [13, 30],
    ] as const) {
      for (const bits of [8, 16] as const) {
        const values = Array.from({ length: rows * columns }, (_, i) => (i * 2_654_435_761) % 2 ** bits);
        const parts = { rows, columns, bits, colourType: GREY, values, isInterlaced: true } as const;
        const image = await decodeImage(png(parts), LIMITS);
        const expected = bits === 8 ? values : values.flatMap((value) => [value & 255, value >> 8]);
        assert.deepEqual([...image.samples], expected);
        await refuses(
          withHeader(png(parts), (r, c) => [r + 9, c]),
          'taller',
        );
      }
    }
    const values = Array.from({ length: 75 }, (_, i) => i);
    const colour = { rows: 5, columns: 5, bits: 8, colourType: RGB, values, isInterlaced: true } as const;
    const plain = await decodeImage(png({ ...colour, isInterlaced: false }), LIMITS);
    assert.deepEqual((await decodeImage(png(colour), LIMITS)).samples, plain.samples);
  });
});

describe('bytes after the end of an image', () => {
  it('are ignored, unless another image begins there', async () => {
    const files = [greyPng(3), await jpegOf({}), await jpegOf({ progressive: true })];
    for (const file of files) {
      const { samples } = await decodeImage(file, LIMITS);
      for (const rest of [new Uint8Array(1), new Uint8Array(100_000), Buffer.from('old bytes of a buffer')]) {
        const image = await decodeImage(Buffer.concat([file, rest]), LIMITS);
        assert.deepEqual(image.samples, samples);
      }
      for (const other of files) {
        await refuses(Buffer.concat([file, Buffer.from('....'), other]), 'a second image', /another image/);
      }
    }
  });
});

describe('an undamaged image', () => {
  it('is decoded, with any settings of the encoder', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.record({
          quality: fc.integer({ min: 1, max: 100 }),
          progressive: fc.boolean(),
          optimiseCoding: fc.boolean(),
          mozjpeg: fc.boolean(),
          chromaSubsampling: fc.constantFrom('4:4:4', '4:2:0'),
        }),
        fc.record({
          width: fc.integer({ min: 1, max: 70 }),
          height: fc.integer({ min: 1, max: 70 }),
          channels: fc.constantFrom(1 as const, 3 as const, 4 as const),
        }),
        fc.constantFrom(0, 1, 255),
        async (options, raw, step) => {
          const size = raw.width * raw.height * raw.channels;
          // Constant, a ramp, and black and white in turn: the last needs the largest coefficients.
          const data = Uint8Array.from({ length: size }, (_, i) => (i * step) & 255);
          const image = sharp(data, { raw });
          const jpeg = await (raw.channels === 4 ? image.flatten() : image).jpeg(options).toBuffer();
          assert.equal((await decodeImage(jpeg, LIMITS)).samples.length, raw.width * raw.height);
          const file = await sharp(data, { raw }).png({ progressive: options.progressive }).toBuffer();
          assert.equal((await decodeImage(file, LIMITS)).samples.length, raw.width * raw.height);
        },
      ),
      { numRuns: 120 },
    );
  });

  it('is decoded: real radiographs, as they are and as JPEGs', async function () {
    const folders = [
      'cxr/train/normal',
      'zhanglab/train/normal',
      'knee/train/normal',
      'nih-rsna/train/normal',
    ];
    const files = folders.flatMap((folder) => radiographs(this, folder, 5));
    for (const [index, file] of files.entries()) {
      const bytes = readFileSync(file);
      const { rows, columns } = await decodeImage(bytes, LIMITS);
      const jpeg = await sharp(bytes)
        .toColourspace('b-w')
        .jpeg(KINDS[index % KINDS.length]![1])
        .toBuffer();
      assert.equal((await decodeImage(jpeg, LIMITS)).samples.length, rows * columns);
      await refuses(withZeros(jpeg, 0.5), file);
    }
  });
});
