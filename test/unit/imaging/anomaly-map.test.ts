import assert from 'node:assert/strict';
import fc from 'fast-check';
import { describe, it } from 'mocha';
import { apply, invert } from '../../../src/geometry/affine.js';
import { type Geometry, geometryOf, patchStart } from '../../../src/geometry/geometry.js';
import { placedToSource } from '../../../src/geometry/placement.js';
import { IDENTITY, unaligned } from '../../../src/imaging/alignment-map.js';
import { anomalyMap, mapShapeOf, mapToSource, PatchField } from '../../../src/imaging/anomaly-map.js';

const SIZE = 32;

function geometry(patchSize: number, patchOffset: number): Geometry {
  return geometryOf(
    { workingSize: SIZE, fit: 'stretch', intensity: { kind: 'window' }, orientation: 'head up' },
    { coreSize: 16, haloSize: 8, patchesPerSide: 2, patchStride: 8, patchSize, patchOffset, minStd: 0 },
  );
}

const layouts = fc.record({
  patchSize: fc.integer({ min: 1, max: 20 }),
  patchOffset: fc.integer({ min: -8, max: 8 }),
  margin: fc.integer({ min: 0, max: 1 }),
});
const scores = fc.array(fc.oneof(fc.constant(Number.NaN), fc.double({ min: -3, max: 9, noNaN: true })), {
  minLength: 16,
  maxLength: 16,
});

describe('PatchField', () => {
  it('is NaN exactly outside of cells that count and were scored, and between their scores inside', () => {
    fc.assert(
      fc.property(layouts, scores, ({ patchSize, patchOffset, margin }, values) => {
        const g = geometry(patchSize, patchOffset);
        const z = Float32Array.from(values);
        const field = new PatchField(g, z, margin);
        const counting = Array.from(z, (value, cell) => {
          const [row, column] = [Math.floor(cell / 4), cell % 4];
          const isInner = Math.min(row, column, 3 - row, 3 - column) >= margin;
          return { row, column, value: isInner ? value : Number.NaN };
        }).filter(({ value }) => !Number.isNaN(value));
        const low = Math.min(...counting.map(({ value }) => value));
        const high = Math.max(...counting.map(({ value }) => value));
        /** Cells are squares of 8 pixels around the centres of the patches. */
        const holds = (index: number, at: number): boolean =>
          Math.abs(at - (patchStart(g, index) + patchSize / 2)) <= 4;
        // A third of a pixel off the borders of the cells, whatever the offset.
        for (let y = 1 / 3; y < SIZE; y += 1.37) {
          for (let x = 1 / 3; x < SIZE; x += 1.37) {
            const own = counting.find(({ row, column }) => holds(row, y) && holds(column, x));
            const value = field.at(y, x);
            assert.equal(Number.isNaN(value), own === undefined, `(${y}, ${x})`);
            if (own) assert.ok(value >= low - 1e-9 && value <= high + 1e-9);
          }
        }
      }),
      { seed: 8, numRuns: 60 },
    );
  });

  it('is the robust z of its patch in the middle half of a cell, so that none is lost between pixels', () => {
    const g = geometry(16, -4);
    const z = new Float32Array(16);
    z[1 * 4 + 2] = 8;
    const field = new PatchField(g, z, 1);
    const centre = (index: number): number => patchStart(g, index) + 8;
    for (const [dy, dx] of [
      [0, 0],
      [1.9, -1.9],
      [-1.9, 1.9],
    ] as const) {
      assert.equal(field.at(centre(1) + dy, centre(2) + dx), 8);
    }
    assert.ok(Math.abs(field.at(centre(1) + 4, centre(2)) - 4) < 1e-9, 'halfway to the next cell');
    assert.equal(field.at(centre(1) + 6.1, centre(2)), 0);
  });

  it('returns the area of the cells that count, clipped to the working image', () => {
    assert.deepEqual(new PatchField(geometry(8, 0), new Float32Array(16), 1).countingBox, {
      top: 8,
      left: 8,
      bottom: 24,
      right: 24,
    });
    assert.deepEqual(new PatchField(geometry(16, -8), new Float32Array(16), 0).countingBox, {
      top: 0,
      left: 0,
      bottom: 28,
      right: 28,
    });
  });

  it('has one value everywhere for a model with one patch', () => {
    const g = geometryOf(
      { workingSize: 16, fit: 'stretch', intensity: { kind: 'window' }, orientation: 'head up' },
      {
        coreSize: 16,
        haloSize: 0,
        patchesPerSide: 1,
        patchStride: 1,
        patchSize: 16,
        patchOffset: 0,
        minStd: 0,
      },
    );
    const source = { rows: 16, columns: 16 };
    const placement = { top: 0, left: 0, ...source };
    const field = new PatchField(g, Float32Array.of(2.5), 0);
    const map = anomalyMap(field, placedToSource(placement, 16, 16), source, source);
    assert.deepEqual(new Set(map), new Set([2.5]));
  });
});

describe('mapShapeOf', () => {
  it('is the size of the source up to 512 pixels, and in proportion above', () => {
    assert.deepEqual(mapShapeOf(256, 200), { rows: 256, columns: 200 });
    assert.deepEqual(mapShapeOf(512, 1), { rows: 512, columns: 1 });
    assert.deepEqual(mapShapeOf(3000, 2500), { rows: 512, columns: 427 });
    assert.deepEqual(mapShapeOf(1, 65_535), { rows: 1, columns: 512 });
  });

  it('has the exact scale back to the source', () => {
    const { xx, yy } = mapToSource(mapShapeOf(3000, 2500), 3000, 2500);
    assert.equal(xx * 427, 2500);
    assert.equal(yy * 512, 3000);
  });
});

describe('anomalyMap', () => {
  /** One high cell, (1, 2), of a padded image: 60 x 30 source pixels in the middle half of the working image. */
  const g = geometry(8, 0);
  const z = new Float32Array(16);
  z[1 * 4 + 2] = 8;
  const placement = { top: 0, left: 8, rows: 32, columns: 16 };
  const source = { rows: 60, columns: 30 };

  function peak(map: Float32Array): { readonly x: number; readonly y: number } {
    const highest = [...map].flatMap((value, at) => (value > 7.99 ? [at] : []));
    const mean = (of: (at: number) => number): number =>
      highest.reduce((sum, at) => sum + of(at) + 0.5, 0) / highest.length;
    return { x: mean((at) => at % source.columns), y: mean((at) => Math.floor(at / source.columns)) };
  }

  it('has the geometry of the source image, without padding', () => {
    const map = anomalyMap(new PatchField(g, z, 0), placedToSource(placement, 60, 30), source, source);
    assert.equal(map.length, 60 * 30);
    assert.ok(!map.some(Number.isNaN));
    // Centre of the cell in the working image: (12, 20).
    const { x, y } = peak(map);
    assert.ok(Math.abs(y - (12 * 60) / 32) < 0.6, `y ${y}`);
    assert.ok(Math.abs(x - (12 * 30) / 16) < 0.6, `x ${x}`);
  });

  it('inverts the alignment: shift, scale and angle', () => {
    const alignment = { shiftY: 0.1, shiftX: -0.05, logScaleY: 0.1, logScaleX: -0.1, angle: 0.15 };
    const square = { top: 0, left: 0, rows: SIZE, columns: SIZE };
    const large = { rows: 320, columns: 320 };
    const placed = placedToSource(square, large.rows, large.columns);
    const back = unaligned(alignment, SIZE);
    const toSource = {
      ...back,
      xx: back.xx * placed.xx,
      xy: back.xy * placed.xx,
      x0: back.x0 * placed.xx,
      yx: back.yx * placed.yy,
      yy: back.yy * placed.yy,
      y0: back.y0 * placed.yy,
    };
    const map = anomalyMap(new PatchField(g, z, 0), toSource, large, large);
    const wanted = apply(toSource, { x: 20, y: 12 });
    let [sum, x, y] = [0, 0, 0];
    map.forEach((value, at) => {
      if (!(value > 7.99)) return;
      sum += 1;
      x += (at % 320) + 0.5;
      y += Math.floor(at / 320) + 0.5;
    });
    assert.ok(Math.hypot(x / sum - wanted.x, y / sum - wanted.y) < 0.5, `${x / sum}, ${y / sum}`);
    // What the aligned image does not show of the source has no value.
    const inverse = invert(toSource);
    for (const [row, column] of [
      [0, 0],
      [160, 160],
      [319, 0],
    ] as const) {
      const at = apply(inverse, { x: column + 0.5, y: row + 0.5 });
      const isShown = Math.min(at.x, at.y) >= 0 && Math.max(at.x, at.y) < SIZE;
      assert.equal(Number.isNaN(map[row * 320 + column]), !isShown, `(${row}, ${column})`);
    }
  });

  it('is unchanged by the identity alignment', () => {
    const placed = placedToSource({ top: 0, left: 0, rows: SIZE, columns: SIZE }, SIZE, SIZE);
    const field = new PatchField(g, z, 1);
    const same = { rows: SIZE, columns: SIZE };
    assert.deepEqual(
      anomalyMap(field, unaligned(IDENTITY, SIZE), same, same),
      anomalyMap(field, placed, same, same),
    );
  });
});
