import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { geometryOf } from '../../../../src/geometry/geometry.js';
import { type InputSpec, inputSchema, type TilingSpec } from '../../../../src/geometry/specifications.js';
import { ALIGNMENT_SIZE, shrink } from '../../../../src/imaging/alignment/alignment-pyramid.js';
import { defaultPixelFormat } from '../../../../src/imaging/pixel-format/pixel-format.js';
import { WorkingImage } from '../../../../src/imaging/working-image/working-image.js';
import { makePhantom } from '../../../../src/phantom/phantom.js';

const SIZE = 128;
const TILING: TilingSpec = {
  coreSize: 64,
  haloSize: 0,
  patchesPerSide: 2,
  patchStride: 32,
  patchSize: 32,
  patchOffset: 0,
  minStd: 0,
};
const PLAIN: InputSpec = {
  workingSize: SIZE,
  fit: 'stretch',
  intensity: { kind: 'percentile', low: 0, high: 100 },
  orientation: '',
};

const phantom = makePhantom({ seed: 5, lesion: 'none', size: SIZE });
const highest = phantom.samples.reduce((a, b) => Math.max(a, b), 0);
const grey = Uint8Array.from(phantom.samples, (value) => (value * 255) / highest);
/** Moved to the right by 6 pixels; the border is repeated. */
const moved = Uint8Array.from(grey, (_, at) => grey[at - Math.min(6, at % SIZE)]!);

function imageOf(input: InputSpec, source: 'rows' | 'tiles'): WorkingImage {
  const format = defaultPixelFormat(SIZE, SIZE, 8);
  return new WorkingImage(geometryOf(input, TILING), input, format, TILING.minStd, source);
}

function rendered(input: InputSpec, pixels: Uint8Array): WorkingImage {
  const image = imageOf(input, 'rows');
  image.pushRows(pixels);
  image.complete();
  return image;
}

const reference = Uint8Array.from(shrink(rendered(PLAIN, grey).pixels, SIZE, ALIGNMENT_SIZE), Math.round);
const ALIGNED: InputSpec = {
  ...PLAIN,
  alignment: { kind: 'affine', reference: Buffer.from(reference).toString('base64') },
};

describe('a working image that is aligned', () => {
  it('matches the reference after the last pixel, and maps its boxes to the source', () => {
    const image = rendered(ALIGNED, moved);
    const wanted = rendered(PLAIN, grey).pixels;
    const error = (pixels: Uint8Array): number =>
      pixels.reduce((sum, value, at) => sum + Math.abs(value - wanted[at]!), 0);
    assert.ok(error(image.pixels) < error(rendered(PLAIN, moved).pixels) / 2);
    const box = image.sourceBox(40, 40, 72, 72);
    assert.ok(Math.abs(box.left - 46) < 2 && Math.abs(box.right - 78) < 3, JSON.stringify(box));
    assert.ok(Math.abs(box.top - 40) < 2 && Math.abs(box.bottom - 72) < 2, JSON.stringify(box));
  });

  it('is the same from rows and from tiles, and has no ready tiles before its end', () => {
    const byRows = rendered(ALIGNED, moved);
    const image = imageOf(ALIGNED, 'tiles');
    assert.equal(image.streamable, false);
    for (const [row, column] of [
      [1, 1],
      [0, 1],
      [1, 0],
      [0, 0],
    ] as const) {
      const tile = Uint8Array.from(
        { length: 64 * 64 },
        (_, i) => moved[(row * 64 + (i >> 6)) * SIZE + column * 64 + (i & 63)]!,
      );
      assert.deepEqual(image.pushTile(row, column, tile), []);
    }
    assert.equal(image.complete().length, 4);
    assert.deepEqual(image.pixels, byRows.pixels);
  });

  it('does not align an incomplete image', () => {
    const aligned = imageOf(ALIGNED, 'rows');
    const plain = imageOf(PLAIN, 'rows');
    for (const image of [aligned, plain]) image.pushRows(moved.subarray(0, 70 * SIZE));
    assert.deepEqual(aligned.complete(), plain.complete());
    assert.deepEqual(aligned.pixels, plain.pixels);
    assert.deepEqual(aligned.sourceBox(40, 40, 72, 72), plain.sourceBox(40, 40, 72, 72));
  });

  it('is refused in a streamable bundle, and with a reference of another size', () => {
    assert.ok(inputSchema.safeParse(ALIGNED).success);
    assert.ok(!inputSchema.safeParse({ ...ALIGNED, intensity: { kind: 'window' } }).success);
    const short = { kind: 'affine', reference: Buffer.alloc(100).toString('base64') };
    assert.ok(!inputSchema.safeParse({ ...ALIGNED, alignment: short }).success);
  });
});
