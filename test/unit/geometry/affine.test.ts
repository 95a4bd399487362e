import assert from 'node:assert/strict';
import fc from 'fast-check';
import { describe, it } from 'mocha';
import { apply, compose, invert, scaling } from '../../../src/geometry/affine.js';
import { boundingBox, cornersOf, placedToSource } from '../../../src/geometry/placement.js';

const number = fc.double({ min: -50, max: 50, noNaN: true });
const maps = fc.record({ xx: number, xy: number, x0: number, yx: number, yy: number, y0: number });
const points = fc.record({ x: number, y: number });

describe('affine transforms', () => {
  it('compose as applying one after the other', () => {
    fc.assert(
      fc.property(maps, maps, points, (second, first, point) => {
        const [a, b] = [apply(second, apply(first, point)), apply(compose(second, first), point)];
        assert.ok(Math.hypot(a.x - b.x, a.y - b.y) < 1e-6);
      }),
    );
  });

  it('have an inverse that leads back, unless they flatten the plane', () => {
    fc.assert(
      fc.property(maps, points, (given, point) => {
        const determinant = given.xx * given.yy - given.xy * given.yx;
        const map = Math.abs(determinant) > 1 ? given : { ...given, ...{ xx: 60, xy: -50, yx: 50, yy: 60 } };
        const back = apply(invert(map), apply(map, point));
        assert.ok(Math.hypot(back.x - point.x, back.y - point.y) < 1e-6);
      }),
    );
    assert.throws(() => invert(scaling(0, 2)), RangeError);
    assert.throws(() => invert({ xx: 1, xy: 2, x0: 0, yx: 2, yy: 4, y0: 0 }), RangeError);
  });
});

describe('placedToSource', () => {
  it('leads from the placed image to the corners of the source', () => {
    const map = placedToSource({ top: 4, left: 0, rows: 8, columns: 16 }, 100, 200);
    assert.deepEqual(apply(map, { x: 0, y: 4 }), { x: 0, y: 0 });
    assert.deepEqual(apply(map, { x: 16, y: 12 }), { x: 200, y: 100 });
  });
});

describe('boundingBox', () => {
  it('contains the corners that are in the image', () => {
    const turned = cornersOf({ top: 2, left: 3, bottom: 6, right: 8 }).map(({ x, y }) => ({
      x: x - 0.5 * y,
      y: y + 0.5 * x,
    }));
    assert.deepEqual(boundingBox(turned, 9, 20), { top: 3.5, left: 0, bottom: 9, right: 7 });
  });
});
