import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { SYNTHETIC_LESIONS, withLesion, withNoise } from '../../../bench/research/synthetic-lesions.js';
import type { DecodedImage } from '../../../src/imaging/decode/decode.js';

const SIZE = 160;

/** Waves in two directions, so that every kind of lesion changes some pixels. */
const image: DecodedImage = {
  rows: SIZE,
  columns: SIZE,
  bitsAllocated: 8,
  bitsStored: 8,
  samples: Uint8Array.from({ length: SIZE * SIZE }, (_, at) =>
    Math.round(100 + 30 * Math.sin(Math.floor(at / SIZE) / 7) + 30 * Math.cos((at % SIZE) / 11)),
  ),
};

describe('synthetic lesions', () => {
  for (const kind of SYNTHETIC_LESIONS) {
    it(`of kind ${kind} change a part of the image, the same part for the same seed`, () => {
      const original = Uint8Array.from(image.samples);
      const { samples } = withLesion(image, kind, 3);
      assert.deepEqual(image.samples, original);
      assert.deepEqual(withLesion(image, kind, 3).samples, samples);
      assert.notDeepEqual(withLesion(image, kind, 4).samples, samples);
      const share = samples.filter((value, at) => value !== image.samples[at]).length / samples.length;
      assert.ok(share > 0.005 && share < 0.9, `${share} of the pixels`);
      for (const corner of [0, SIZE - 1, SIZE * (SIZE - 1), SIZE * SIZE - 1]) {
        assert.ok(Math.abs(samples[corner]! - image.samples[corner]!) <= 3);
      }
    });
  }

  it('as noise have the given standard deviation', () => {
    const { samples } = withNoise(image, 0.02, 1);
    const squares = samples.reduce((sum, value, at) => sum + (value - image.samples[at]!) ** 2, 0);
    assert.ok(Math.abs(Math.sqrt(squares / samples.length) - 0.02 * 255) < 0.2);
  });

  it('are refused for images of 16 bits', () => {
    assert.throws(() => withNoise({ ...image, bitsAllocated: 16 }, 0.01, 1), RangeError);
  });
});
