import assert from 'node:assert/strict';
import fc from 'fast-check';
import { describe, it } from 'mocha';
import { geometryOf } from '../../../../src/geometry/geometry.js';
import { allTiles, tilePositionOf } from '../../../../src/geometry/tile-index.js';
import { TileCutter } from '../../../../src/imaging/tiles/tile-cutter.js';

/** numpy's `reflect`, pixel by pixel. */
function reflected(pixels: Uint8Array, size: number, row: number, column: number): number {
  const inside = (at: number) => (Math.abs(at) < size ? Math.abs(at) : 2 * (size - 1) - at);
  return pixels[inside(row) * size + inside(column)]!;
}

describe('TileCutter', () => {
  it('cuts core and halo, mirrored at the border, whether or not tiles start on words', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 2, max: 9 }),
        fc.integer({ min: 1, max: 4 }),
        fc.integer({ min: 1, max: 3 }),
        fc.integer({ min: 0, max: 5 }),
        fc.integer({ min: 0, max: 3 }),
        (coreSize, tilesAcross, coresPerTile, halo, offset) => {
          const workingSize = coreSize * coresPerTile * tilesAcross;
          const haloSize = Math.min(halo, workingSize - 1);
          const patches = {
            patchesPerSide: 1,
            patchStride: coreSize,
            patchSize: 1,
            patchOffset: 0,
            minStd: 0,
          };
          const geometry = geometryOf(
            { workingSize, fit: 'stretch', intensity: { kind: 'window' }, orientation: '' },
            { coreSize, coresPerTile, haloSize, ...patches },
          );
          const { coreColumns, tilePixels, tileWidth } = geometry;
          const pixels = Uint8Array.from({ length: workingSize ** 2 }, (_, at) => (at * 31) % 251);
          const cutter = new TileCutter(geometry, pixels);
          const target = new Uint8Array(new SharedArrayBuffer(offset + tilePixels), offset);
          for (const tile of allTiles(geometry)) {
            const { row, column } = tilePositionOf(geometry, tile);
            target.fill(255);
            cutter.cut(tile, target);
            const top = row * coreSize - haloSize;
            const left = column * coreColumns - haloSize;
            const expected = Uint8Array.from(target, (_, at) =>
              reflected(pixels, workingSize, top + Math.floor(at / tileWidth), left + (at % tileWidth)),
            );
            assert.deepEqual(Uint8Array.from(target), expected);
          }
        },
      ),
    );
  });
});
