import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { describe, it } from 'mocha';
import { geometryOf } from '../../../../src/geometry/geometry.js';
import type { InputSpec } from '../../../../src/geometry/specifications.js';
import { tileIndexAt } from '../../../../src/geometry/tile-index.js';
import { ImageContent } from '../../../../src/imaging/content/image-content.js';
import { decodeImage } from '../../../../src/imaging/decode/decode.js';
import { defaultPixelFormat, type PixelFormat } from '../../../../src/imaging/pixel-format/pixel-format.js';
import { WorkingImage } from '../../../../src/imaging/working-image/working-image.js';
import { makePhantom } from '../../../../src/phantom/phantom.js';
import { createRandomSource } from '../../../../src/phantom/random-source.js';
import { radiographs } from '../../../support/images/shared-data.js';

/** The two kinds of input of the shipped models. */
const INPUTS: readonly InputSpec[] = [
  { workingSize: 224, fit: 'stretch', intensity: { kind: 'percentile', low: 1, high: 99 }, orientation: '' },
  { workingSize: 256, fit: 'stretch', intensity: { kind: 'window' }, orientation: '' },
  { workingSize: 256, fit: 'pad', intensity: { kind: 'window' }, orientation: '' },
];

function workingImage(
  input: InputSpec,
  format: PixelFormat,
  source: 'rows' | 'tiles' = 'rows',
): WorkingImage {
  const side = source === 'tiles' ? 32 : input.workingSize;
  const tiling = { coreSize: side, haloSize: 0, patchesPerSide: 1, patchStride: side, patchSize: side };
  return new WorkingImage(
    geometryOf(input, { ...tiling, patchOffset: 0, minStd: 0 }),
    input,
    format,
    0,
    source,
  );
}

function isEmpty(input: InputSpec, format: PixelFormat, samples: Uint8Array): boolean {
  const image = workingImage(input, format);
  image.pushRows(samples);
  image.complete();
  assert.equal(image.backgroundPatches(tileIndexAt(image.geometry, 0, 0)).length, image.isEmpty ? 1 : 0);
  return image.isEmpty;
}

/** 8-bit values by row and column, rounded and clipped. */
function draw(rows: number, columns: number, value: (y: number, x: number) => number): Uint8Array {
  return Uint8Array.from({ length: rows * columns }, (_, i) =>
    Math.min(255, Math.max(0, Math.round(value(Math.floor(i / columns), i % columns)))),
  );
}

function noise(seed: number): () => number {
  const random = createRandomSource(seed, 'noise');
  return () => random.normal();
}

describe('an image without structure', () => {
  const blanks: readonly (readonly [
    string,
    number,
    (y: number, x: number, normal: () => number) => number,
  ])[] = [
    ['black', 300, () => 0],
    ['white', 300, () => 255],
    ['grey', 40, () => 77],
    ['with noise of one level', 300, (_y, _x, normal) => 128 + normal()],
    ['with noise of three levels', 500, (_y, _x, normal) => 128 + 3 * normal()],
    ['shaded', 300, (y, x) => 120 + x / 15 + y / 20 - (x * x) / 9000],
    ['shaded, with noise', 300, (y, x, normal) => 120 + x / 15 + y / 20 + 2 * normal()],
    ['with a marker', 300, (y, x, normal) => (y > 20 && y < 45 && x > 250 && x < 268 ? 255 : 60 + normal())],
    ['with a dead line', 300, (_y, x, normal) => (x === 100 ? 255 : 100 + normal())],
    [
      'within a collimator',
      300,
      (y, x, normal) => (y > 40 && y < 260 && x > 50 && x < 250 ? 200 + 2 * normal() : 0),
    ],
  ];
  for (const [what, side, value] of blanks) {
    it(`is ${what}`, () => {
      const normal = noise(3);
      const samples = draw(side, side, (y, x) => value(y, x, normal));
      for (const input of INPUTS) {
        assert.ok(isEmpty(input, defaultPixelFormat(side, side, 8), samples), input.fit);
      }
    });
  }

  it('is one with fewer rows or columns than a sixteenth of the working image', () => {
    for (const input of INPUTS) {
      const least = input.workingSize / 16;
      for (const [rows, columns] of [
        [1, 1],
        [2, 2],
        [least - 1, least - 1],
        [least - 1, 300],
        [300, least - 1],
      ] as const) {
        const samples = draw(rows, columns, (y, x) => 128 + 100 * Math.sin(y + 2 * x));
        assert.ok(isEmpty(input, defaultPixelFormat(rows, columns, 8), samples), `${rows} x ${columns}`);
      }
    }
  });

  it('is saturated by its window', () => {
    const format = {
      ...defaultPixelFormat(64, 64, 16, 12),
      voi: { kind: 'window', function: 'linear', center: 100, width: 50 },
    } as const;
    const samples = new Uint8Array(64 * 64 * 2).map((_, i) => (i % 2 === 0 ? i % 251 : 8));
    for (const input of INPUTS) assert.ok(isEmpty(input, format, samples));
  });
});

describe('an image with structure', () => {
  it('is a phantom, also one that uses a small part of the range', () => {
    const { samples, rows, columns } = makePhantom({ seed: 4, lesion: 'none', size: 256 });
    const bytes = new Uint8Array(samples.buffer, samples.byteOffset, samples.byteLength);
    for (const input of INPUTS) assert.ok(!isEmpty(input, defaultPixelFormat(rows, columns, 16, 12), bytes));
    // Twelve bits in sixteen without a window: 16 of 255 display values.
    const [percentile] = INPUTS;
    assert.ok(!isEmpty(percentile!, defaultPixelFormat(rows, columns, 16), bytes));
    // 64 of 256 levels.
    const few = Uint8Array.from(samples, (value) => 100 + (value >> 6));
    assert.ok(!isEmpty(percentile!, defaultPixelFormat(rows, columns, 8), few));
  });

  it('is recognised from rows and from tiles before it is complete', () => {
    const { samples, rows, columns } = makePhantom({ seed: 5, lesion: 'none', size: 256 });
    const pixels = Uint8Array.from(samples, (value) => value >> 4);
    const input = INPUTS[1]!;
    const format = defaultPixelFormat(rows, columns, 8);
    const byRows = workingImage(input, format);
    assert.ok(byRows.isUndecided);
    byRows.pushRows(pixels.subarray(0, 128 * columns));
    assert.ok(!byRows.isUndecided);
    const byTiles = workingImage(input, format, 'tiles');
    assert.ok(byTiles.isUndecided);
    for (let row = 0; row < 4; row++) {
      for (let column = 0; column < 8; column++) {
        const core = draw(32, 32, (y, x) => pixels[(32 * row + y) * 256 + 32 * column + x]!);
        byTiles.pushTile(row, column, core);
      }
    }
    assert.ok(!byTiles.isUndecided);
  });

  it('is recognised from the received part of an incomplete image', () => {
    const { samples, rows, columns } = makePhantom({ seed: 6, lesion: 'none', size: 256 });
    const pixels = Uint8Array.from(samples, (value) => value >> 4);
    for (const [share, input] of [0.5, 0.5].map((part, i) => [part, INPUTS[i]!] as const)) {
      const image = workingImage(input, defaultPixelFormat(rows, columns, 8));
      image.pushRows(pixels.subarray(0, rows * share * columns));
      image.complete();
      assert.ok(!image.isEmpty);
      const blank = workingImage(input, defaultPixelFormat(rows, columns, 8));
      blank.pushRows(new Uint8Array(rows * share * columns));
      blank.complete();
      assert.ok(blank.isEmpty);
    }
  });

  it('needs an eighth of its cells to have structure', () => {
    const placement = { top: 0, left: 0, rows: 128, columns: 128 };
    // 32 x 32 cells of 4 x 4 pixels; `count` of them have a step of 100.
    const withCells = (count: number) => {
      const content = new ImageContent(placement, 128, 1);
      const value = (index: number) => {
        const [y, x] = [Math.floor(index / 128), index % 128];
        return (y >> 2) * 32 + (x >> 2) < count && x % 4 < 2 ? 100 : 0;
      };
      return content.hasStructureIn(value, [{ top: 0, left: 0, bottom: 128, right: 128 }]);
    };
    assert.deepEqual([withCells(127), withCells(128)], [false, true]);
  });

  it('is every real radiograph', async function () {
    const folders = ['cxr/test/normal', 'knee/test/normal', 'nih-rsna/test/normal', 'zhanglab/test/normal'];
    for (const file of folders.flatMap((folder) => radiographs(this, folder, 8))) {
      const { rows, columns, samples } = await decodeImage(readFileSync(file), { maxPixels: 1 << 22 });
      for (const input of INPUTS) {
        assert.ok(!isEmpty(input, defaultPixelFormat(rows, columns, 8), samples), file);
      }
    }
  });
});
