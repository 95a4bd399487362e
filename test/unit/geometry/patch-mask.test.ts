import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { geometryOf, patchOfTile } from '../../../src/geometry/geometry.js';
import { PatchMask } from '../../../src/geometry/patch-mask.js';
import { tileIndexAt } from '../../../src/geometry/tile-index.js';

const geometry = geometryOf(
  { workingSize: 64, fit: 'stretch', intensity: { kind: 'window' }, orientation: 'upright' },
  {
    coreSize: 16,
    coresPerTile: 2,
    haloSize: 8,
    patchesPerSide: 2,
    patchStride: 8,
    patchSize: 8,
    patchOffset: 0,
    minStd: 1,
  },
);

/** Visited patches of a tile: index in the patch grid, and index within the tile. */
function visit(mask: PatchMask, row: number, column: number): (readonly [number, number])[] {
  const visited: (readonly [number, number])[] = [];
  const tile = tileIndexAt(geometry, row, column);
  mask.forEachScored(tile, (patch, within) => visited.push([patch, within]));
  return visited;
}

describe('mask of scored patches', () => {
  it('visits every patch of a tile in the order of the engines', () => {
    const expected = Array.from({ length: 8 }, (_, within) => [patchOfTile(geometry, 1, 1, within), within]);
    assert.deepEqual(visit(new PatchMask(geometry), 1, 1), expected);
  });

  it('leaves out background patches', () => {
    const mask = new PatchMask(geometry);
    mask.markBackground([2, 3, 4].map((within) => patchOfTile(geometry, 2, 0, within)));
    assert.deepEqual(
      visit(mask, 2, 0).map(([, within]) => within),
      [0, 1, 5, 6, 7],
    );
    assert.equal(visit(mask, 2, 1).length, 8);
  });
});
