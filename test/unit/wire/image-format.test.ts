import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import type { ServedModel } from '../../../src/acquisition/index.js';
import { AcquisitionHeader, ImageFormat, Source } from '../../../src/gen/salad/v1/types.js';
import { defaultPixelFormat, type PixelFormat } from '../../../src/imaging/pixel-format/pixel-format.js';
import { requestFrom } from '../../../src/wire/header.js';
import { imageFormatOf } from '../../../src/wire/image-format.js';

const model = {
  manifest: { calibration: { imageScores: [1, 2, 3] }, scoring: { neighbourCount: 5 } },
} as unknown as ServedModel;

/** Encodes and decodes a format, and reads it as the server does. */
function received(format: PixelFormat): PixelFormat {
  const image = ImageFormat.decode(ImageFormat.encode(imageFormatOf(format)).finish());
  const options = { maxFalsePositiveRate: 0.5 };
  const header = AcquisitionHeader.fromPartial({ source: Source.SOURCE_ROWS, options });
  return requestFrom({ ...header, image }, model, { maxImagePixels: 1e6, deadline: 0, peer: 'a' }).format;
}

const base = defaultPixelFormat(20, 30, 16, 12);
const table = { firstValue: -3, bitsPerEntry: 12, entries: Uint16Array.of(0, 4095, 7) };

describe('imageFormatOf', () => {
  const formats: readonly [string, PixelFormat][] = [
    ['the default', base],
    [
      'rescale, sign, MONOCHROME1',
      { ...base, isSigned: true, monochrome1: true, rescaleSlope: 0.5, rescaleIntercept: -9 },
    ],
    ['windows', { ...base, voi: { kind: 'window', center: 40, width: 80, function: 'linear' } }],
    ['exact windows', { ...base, voi: { kind: 'window', center: 40, width: 80, function: 'linearExact' } }],
    ['sigmoid windows', { ...base, voi: { kind: 'window', center: 40, width: 80, function: 'sigmoid' } }],
    ['tables', { ...base, modalityLut: table, voi: { kind: 'lut', ...table } }],
    ['percentiles', { ...base, voi: { kind: 'auto', lowPercentile: 0.5, highPercentile: 99.5 } }],
    [
      'padding and spacing',
      { ...base, padding: { first: -5, last: 3 }, rowSpacingMm: 0.2, columnSpacingMm: 0.1 },
    ],
    ['an aspect ratio', { ...base, pixelAspectRatio: 1.5 }],
  ];
  for (const [what, format] of formats) {
    it(`keeps every field of a format: ${what}`, () => assert.deepEqual(received(format), format));
  }
});
