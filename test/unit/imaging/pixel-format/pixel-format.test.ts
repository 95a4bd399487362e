import assert from 'node:assert/strict';
import fc from 'fast-check';
import { describe, it } from 'mocha';
import { SaladError } from '../../../../src/errors/index.js';
import {
  createDisplayTransform,
  defaultPixelFormat,
  type PixelFormat,
  type VoiTransform,
} from '../../../../src/imaging/pixel-format/pixel-format.js';

/** Display values of stored values, through the bytes a client would send. */
function display(format: PixelFormat, stored: readonly number[]): number[] {
  const bytes = format.bitsAllocated === 8 ? Uint8Array.from(stored) : new Uint8Array(stored.length * 2);
  if (format.bitsAllocated === 16) {
    const view = new DataView(bytes.buffer);
    for (const [i, value] of stored.entries()) view.setUint16(i * 2, value & 0xffff, true);
  }
  const out = new Float32Array(stored.length);
  createDisplayTransform(format)(bytes, out);
  return [...out];
}

function closeTo(actual: readonly number[], expected: readonly number[], tolerance = 1e-4): void {
  assert.equal(actual.length, expected.length);
  for (const [i, value] of actual.entries()) {
    assert.ok(Math.abs(value - expected[i]!) <= tolerance, `[${i}] ${value} is not ${expected[i]}`);
  }
}

const base8 = defaultPixelFormat(4, 4, 8);
const base16 = defaultPixelFormat(4, 4, 16);
const base12 = defaultPixelFormat(4, 4, 16, 12);
const window = (
  center: number,
  width: number,
  fn: 'linear' | 'linearExact' | 'sigmoid' = 'linear',
): VoiTransform => ({ kind: 'window', center, width, function: fn });

/** A table of three entries, from stored value 10 on. */
const TABLE = { firstValue: 10, bitsPerEntry: 8, entries: [100, 200, 50] };

describe('createDisplayTransform', () => {
  it('applies a Modality LUT before the VOI, and shows its full range without a VOI', () => {
    const format = { ...base12, modalityLut: TABLE };
    assert.deepEqual(display(format, [0, 10, 11, 12, 4000]), [100, 100, 200, 50, 50]);
    closeTo(display({ ...format, voi: window(150.5, 101) }, [10, 11, 12]), [0, 255, 0]);
    closeTo(display({ ...format, monochrome1: true }, [10]), [155]);
  });

  it('shows padding black after everything else', () => {
    const format = { ...base8, padding: { first: 250, last: 255 } };
    assert.deepEqual(display(format, [249, 250, 255]), [249, 0, 0]);
    assert.deepEqual(display({ ...format, monochrome1: true }, [249, 250, 255]), [6, 0, 0]);
    const negative = { ...base8, isSigned: true, padding: { first: -128, last: -128 } };
    assert.deepEqual(display({ ...negative, monochrome1: true }, [0x80, 0x81]), [0, 254]);
  });

  it('returns the same values for a repeated format, after any other formats', () => {
    const window = (center: number): PixelFormat => ({
      ...defaultPixelFormat(1, 1, 16, 12),
      voi: { kind: 'window', center, width: 700, function: 'linear' },
    });
    const shown = (format: PixelFormat): number => {
      const out = new Float32Array(1);
      createDisplayTransform(format)(Uint8Array.of(0x84, 0x03), out);
      return out[0]!;
    };
    const first = Array.from({ length: 40 }, (_, at) => shown(window(600 + 20 * at)));
    const again = Array.from({ length: 40 }, (_, at) => shown(window(600 + 20 * at)));
    assert.deepEqual(again, first);
    assert.ok(new Set(first).size > 20);
    assert.ok(Math.abs(shown({ ...window(600), monochrome1: true }) - (255 - first[0]!)) < 1e-4);
  });

  it('passes full-range 8-bit values through exactly', () => {
    const all = Array.from({ length: 256 }, (_, i) => i);
    assert.deepEqual(display(base8, all), all);
  });

  it('maps the ends of 16 and 12 stored bits to 0 and 255', () => {
    assert.deepEqual(display(base16, [0, 65_535]), [0, 255]);
    assert.deepEqual(display(base12, [0, 4095]), [0, 255]);
    closeTo(display(base12, [1000]), [(1000 / 4095) * 255]);
  });

  it('ignores bits above bitsStored', () => {
    closeTo(display(base12, [0xf000 | 1000]), display(base12, [1000]));
    closeTo(display({ ...base8, bitsStored: 4 }, [0xf3]), [(3 / 15) * 255]);
  });

  it('sign-extends from bitsStored', () => {
    const signed = { ...base12, isSigned: true };
    // 0x800 is -2048 and 0x7ff is 2047 in 12 bits.
    assert.deepEqual(display(signed, [0x800, 0x7ff]), [0, 255]);
    closeTo(display(signed, [0xfff]), [(2047 / 4095) * 255]);
    closeTo(display({ ...signed, voi: window(0, 101, 'linearExact') }, [-10]), [(-10 / 101 + 0.5) * 255]);
  });

  it('follows C.11.2.1.2.1 for LINEAR', () => {
    // The standard's own example: center 2048, width 4096 over 12 bits is the identity of the range.
    closeTo(display({ ...base12, voi: window(2048, 4096) }, [0, 2048, 4095]), [
      0,
      (0.5 / 4095 + 0.5) * 255,
      255,
    ]);
    // c = 2048, w = 1: x <= 2047.5 is black, above it white.
    assert.deepEqual(display({ ...base12, voi: window(2048, 1) }, [2047, 2048]), [0, 255]);
    // c = 0, w = 100 with intercept: low edge -50 is 0, high edge 49 is 255 (PS3.3 table).
    const shifted = { ...base12, rescaleIntercept: -1000, voi: window(0, 100) };
    closeTo(display(shifted, [949, 950, 951, 1048, 1049, 1050]), [
      0,
      0,
      ((-49 + 0.5) / 99 + 0.5) * 255,
      ((48 + 0.5) / 99 + 0.5) * 255,
      255,
      255,
    ]);
  });

  it('follows C.11.2.1.3.2 for LINEAR_EXACT', () => {
    const format = { ...base12, voi: window(2000, 100, 'linearExact') };
    closeTo(display(format, [1949, 1950, 1975, 2000, 2050, 2051]), [0, 0, 63.75, 127.5, 255, 255]);
  });

  it('follows C.11.2.1.3.1 for SIGMOID', () => {
    const format = { ...base12, voi: window(2000, 400, 'sigmoid') };
    closeTo(display(format, [2000, 2100, 1900]), [127.5, 255 / (1 + Math.exp(-1)), 255 / (1 + Math.exp(1))]);
  });

  it('rescales before the window, with a negative slope too', () => {
    const format = {
      ...base12,
      rescaleSlope: -0.5,
      rescaleIntercept: 100,
      voi: window(0, 101, 'linearExact'),
    };
    closeTo(display(format, [200, 220]), [127.5, (-10 / 101 + 0.5) * 255]);
    assert.deepEqual(display({ ...base8, rescaleSlope: -2, rescaleIntercept: 7 }, [0, 255]), [255, 0]);
  });

  it('looks values up in a VOI LUT and clamps outside it', () => {
    const voi: VoiTransform = { kind: 'lut', firstValue: 10, bitsPerEntry: 10, entries: [0, 1023, 512] };
    closeTo(display({ ...base12, voi }, [0, 10, 11, 12, 4000]), [
      0,
      0,
      255,
      (512 / 1023) * 255,
      (512 / 1023) * 255,
    ]);
  });

  it('accepts a LUT that starts at a negative rescaled value', () => {
    const voi: VoiTransform = { kind: 'lut', firstValue: -2, bitsPerEntry: 8, entries: [10, 20, 30, 40] };
    closeTo(display({ ...base8, rescaleIntercept: -1, voi }, [0, 1, 2]), [20, 30, 40]);
  });

  it('inverts MONOCHROME1 after the window', () => {
    const format = { ...base12, voi: window(2000, 100, 'linearExact') };
    const straight = display(format, [1960, 2010]);
    closeTo(
      display({ ...format, monochrome1: true }, [1960, 2010]),
      straight.map((v) => 255 - v),
    );
  });

  it('treats an automatic window as the full range', () => {
    const voi: VoiTransform = { kind: 'auto', lowPercentile: 1, highPercentile: 99 };
    assert.deepEqual(display({ ...base12, voi }, [5, 4000]), display(base12, [5, 4000]));
  });

  it('stays in [0, 255] and is monotone in the stored value for any format', () => {
    const formats = fc.record({
      bitsAllocated: fc.constantFrom(8 as const, 16 as const),
      bitsStored: fc.integer({ min: 1, max: 8 }),
      isSigned: fc.boolean(),
      monochrome1: fc.boolean(),
      rescaleSlope: fc.double({ min: 0.01, max: 20, noNaN: true }),
      rescaleIntercept: fc.double({ min: -5000, max: 5000, noNaN: true }),
      voi: fc.oneof(
        fc.constant<VoiTransform>({ kind: 'fullRange' }),
        fc.record({
          kind: fc.constant('window' as const),
          center: fc.double({ min: -5000, max: 5000, noNaN: true }),
          width: fc.double({ min: 1, max: 9000, noNaN: true }),
          function: fc.constantFrom('linear' as const, 'linearExact' as const, 'sigmoid' as const),
        }),
      ),
    });
    fc.assert(
      fc.property(formats, (partial) => {
        const format: PixelFormat = { rows: 1, columns: 1, ...partial };
        const size = 2 ** format.bitsStored;
        const low = format.isSigned ? -size / 2 : 0;
        const values = display(
          format,
          Array.from({ length: size }, (_, i) => (low + i) & 0xffff),
        );
        const direction = format.monochrome1 ? -1 : 1;
        for (const [i, value] of values.entries()) {
          assert.ok(value >= 0 && value <= 255);
          if (i > 0) assert.ok((value - values[i - 1]!) * direction >= 0);
        }
      }),
      { seed: 11, numRuns: 200 },
    );
  });

  const bad: readonly [string, Partial<PixelFormat>][] = [
    ['header.image.rows', { rows: 0 }],
    ['header.image.columns', { columns: 1.5 }],
    ['header.image.bits_allocated', { bitsAllocated: 12 as 16 }],
    ['header.image.bits_stored', { bitsStored: 17 }],
    ['header.image.bits_stored', { bitsStored: 0 }],
    ['header.image.rescale_slope', { rescaleSlope: 0 }],
    ['header.image.rescale_slope', { rescaleSlope: Number.NaN }],
    ['header.image.rescale_intercept', { rescaleIntercept: Number.POSITIVE_INFINITY }],
    ['header.image.row_spacing_mm', { rowSpacingMm: 0 }],
    ['header.image.column_spacing_mm', { columnSpacingMm: Number.NaN }],
    ['header.image.pixel_aspect_ratio', { pixelAspectRatio: 0 }],
    ['header.image.modality_lut', { rescaleSlope: 2, modalityLut: TABLE }],
    ['header.image.modality_lut.entries', { modalityLut: { ...TABLE, entries: [256] } }],
    ['header.image.modality_lut.first_value', { modalityLut: { ...TABLE, firstValue: 0.5 } }],
    ['header.image.modality_lut.bits_per_entry', { modalityLut: { ...TABLE, bitsPerEntry: 17 } }],
    ['header.image.pixel_padding', { padding: { first: 2, last: 1 } }],
    ['header.image.voi.window.center', { voi: window(Number.NaN, 10) }],
    ['header.image.voi.window.width', { voi: window(10, 0.5) }],
    ['header.image.voi.window.width', { voi: window(10, 0, 'sigmoid') }],
    [
      'header.image.voi.lut.bits_per_entry',
      { voi: { kind: 'lut', firstValue: 0, bitsPerEntry: 7, entries: [1] } },
    ],
    ['header.image.voi.lut.entries', { voi: { kind: 'lut', firstValue: 0, bitsPerEntry: 8, entries: [] } }],
    [
      'header.image.voi.lut.entries',
      { voi: { kind: 'lut', firstValue: 0, bitsPerEntry: 8, entries: [256] } },
    ],
    [
      'header.image.voi.lut.first_value',
      { voi: { kind: 'lut', firstValue: 0.5, bitsPerEntry: 8, entries: [1] } },
    ],
    [
      'header.image.voi.auto.low_percentile',
      { voi: { kind: 'auto', lowPercentile: 100, highPercentile: 100 } },
    ],
    ['header.image.voi.auto.high_percentile', { voi: { kind: 'auto', lowPercentile: 5, highPercentile: 5 } }],
  ];
  for (const [field, change] of bad) {
    it(`refuses ${JSON.stringify(change)} and names ${field}`, () => {
      assert.throws(
        () => createDisplayTransform({ ...base16, ...change }),
        (error: unknown) =>
          error instanceof SaladError &&
          error.reason === 'HEADER_INVALID' &&
          error.fieldViolations[0]?.field === field,
      );
    });
  }
});
