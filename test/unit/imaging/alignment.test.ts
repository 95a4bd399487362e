import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { apply } from '../../../src/geometry/affine.js';
import { Aligner } from '../../../src/imaging/alignment.js';
import {
  type AlignmentMap,
  fromNumbers,
  IDENTITY,
  mapPoint,
  toNumbers,
  unaligned,
  warp,
} from '../../../src/imaging/alignment-map.js';
import { ALIGNMENT_SIZE, shrink } from '../../../src/imaging/alignment-pyramid.js';
import { makePhantom } from '../../../src/phantom/phantom.js';
import { createRandomSource } from '../../../src/phantom/random-source.js';

const SIZE = 224;

/** A phantom as 8-bit grey values. */
function radiograph(seed: number): Uint8Array {
  const { samples } = makePhantom({ seed, lesion: 'none', size: SIZE });
  const [low, high] = samples.reduce(
    ([least, most], value) => [Math.min(least, value), Math.max(most, value)],
    [Number.POSITIVE_INFINITY, 0],
  );
  return Uint8Array.from(samples, (value) => ((value - low) * 255) / (high - low));
}

const movedBy = (pixels: Uint8Array, map: AlignmentMap): Uint8Array => {
  const out = new Uint8ClampedArray(pixels.length);
  warp(pixels, SIZE, map, out);
  return new Uint8Array(out);
};

function difference(a: ArrayLike<number>, b: ArrayLike<number>): number {
  const from = shrink(a, SIZE, ALIGNMENT_SIZE);
  const to = shrink(b, SIZE, ALIGNMENT_SIZE);
  return Math.sqrt(from.reduce((sum, value, i) => sum + (value - to[i]!) ** 2, 0) / from.length);
}

describe('alignment to a reference', () => {
  const image = radiograph(11);
  const aligner = new Aligner(shrink(image, SIZE, ALIGNMENT_SIZE));

  it('inverts a negative and aligns it as the positive', () => {
    const moved = movedBy(image, { ...IDENTITY, shiftY: 0.05 });
    const [positive, negative] = [Uint8Array.from(moved), moved.map((value) => 255 - value)];
    const [plain, inverted] = [aligner.align(positive, SIZE), aligner.align(negative, SIZE)];
    assert.deepEqual([plain.inverted, inverted.inverted], [false, true]);
    assert.deepEqual(inverted.map, plain.map);
    assert.deepEqual(negative, positive);
    assert.deepEqual(fromNumbers(toNumbers(inverted)), inverted);
  });

  it('does not invert an image that resembles neither the reference nor its negative', () => {
    const random = createRandomSource(3, 'noise');
    const noise = Uint8Array.from({ length: SIZE * SIZE }, () => 255 * random.next());
    assert.equal(aligner.align(noise, SIZE).inverted, false);
  });

  it('moves an image that is aligned already by less than half a pixel', () => {
    const map = aligner.estimate(image, SIZE);
    for (const [name, value] of Object.entries(map)) {
      assert.ok(Math.abs(value) < 0.004, `${name} ${value}`);
    }
  });

  for (const [name, moved] of Object.entries({
    shifted: { ...IDENTITY, shiftY: 0.1, shiftX: -0.07 },
    magnified: { ...IDENTITY, logScaleY: 0.1, logScaleX: 0.06 },
    turned: { ...IDENTITY, angle: 0.08 },
    'all three': { shiftY: -0.06, shiftX: 0.05, logScaleY: -0.07, logScaleX: 0.05, angle: -0.06 },
  })) {
    it(`aligns an image that was ${name}, at any contrast`, () => {
      const disturbed = movedBy(image, moved).map((value) => 30 + 0.6 * value);
      const before = difference(
        image,
        disturbed.map((value) => (value - 30) / 0.6),
      );
      const back = Uint8Array.from(disturbed);
      aligner.align(back, SIZE);
      const after = difference(
        image,
        back.map((value) => (value - 30) / 0.6),
      );
      assert.ok(after < before / 3, `difference ${before} became ${after}`);
    });
  }

  it('increases the similarity of different patients, and returns the same map every time', () => {
    const other = radiograph(12);
    const aligned = Uint8Array.from(other);
    const { map } = aligner.align(aligned, SIZE);
    assert.ok(difference(image, aligned) < difference(image, other));
    assert.deepEqual(aligner.estimate(other, SIZE), map);
  });

  it('stays within its bounds for noise and for an image without contrast', () => {
    const flat = aligner.estimate(new Uint8Array(SIZE * SIZE).fill(7), SIZE);
    for (const value of Object.values(flat)) assert.ok(Math.abs(value) < 1e-9, `${value}`);
    const random = createRandomSource(1, 'noise');
    const noise = Uint8Array.from({ length: SIZE * SIZE }, () => random.integer(0, 255));
    const map = aligner.estimate(noise, SIZE);
    assert.ok(Math.abs(map.shiftY) <= 0.3 && Math.abs(map.logScaleX) <= 0.25 && Math.abs(map.angle) <= 0.2);
  });

  it('maps a pixel of the aligned image to the given image', () => {
    const map = { shiftY: 0.1, shiftX: 0, logScaleY: 0, logScaleX: Math.log(2), angle: 0 };
    assert.deepEqual(mapPoint(map, 0.5, 0.25), [0.6, 0.5]);
    const { x, y } = apply(unaligned(map, 100), { x: 62.5, y: 75 });
    assert.ok(Math.abs(x - 75) < 1e-9 && Math.abs(y - 80) < 1e-9, `${x}, ${y}`);
    // As `warp` does: the pixel at (row, column) of the aligned image is the sample of the given image there.
    const turned = { shiftY: 0.05, shiftX: -0.1, logScaleY: 0.1, logScaleX: -0.05, angle: 0.15 };
    const ramp = Float64Array.from({ length: SIZE * SIZE }, (_, at) => at % SIZE);
    const warped = new Float64Array(SIZE * SIZE);
    warp(ramp, SIZE, turned, warped);
    for (const [row, column] of [
      [SIZE / 2, SIZE / 2],
      [SIZE / 2 - 9, SIZE / 2 + 7],
    ] as const) {
      const from = apply(unaligned(turned, SIZE), { x: column + 0.5, y: row + 0.5 });
      assert.ok(Math.abs(warped[row * SIZE + column]! - (from.x - 0.5)) < 1e-9);
    }
  });
});
