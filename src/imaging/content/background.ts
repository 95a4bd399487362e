/** Finds the background patches of a working image, which are not scored. */
import { type Geometry, patchOfTile } from '../../geometry/geometry.js';
import { type TileIndex, tileColumnOf, tileRowOf } from '../../geometry/tile-index.js';

/**
 * Returns the indices in the patch grid of the patches of a tile whose core has a standard deviation below `minStd`.
 * @param pixels uint8 [workingSize, workingSize]
 */
export function flatPatches(
  pixels: Uint8Array,
  geometry: Geometry,
  minStd: number,
  tile: TileIndex,
): number[] {
  if (minStd <= 0) return [];
  const [row, column] = [tileRowOf(geometry, tile), tileColumnOf(geometry, tile)];
  const { coreSize, coreColumns, patchesPerSide, patchesPerTile } = geometry;
  const cores = coreColumns / coreSize;
  const isFlat = Array.from(
    { length: cores },
    (_, core) => deviation(pixels, geometry, row, column * cores + core) < minStd,
  );
  const patches: number[] = [];
  for (let within = 0; within < patchesPerTile; within++) {
    const core = Math.floor((within % (cores * patchesPerSide)) / patchesPerSide);
    if (isFlat[core]) patches.push(patchOfTile(geometry, row, column, within));
  }
  return patches;
}

/** Indices in the patch grid of all patches of a tile. */
export function patchesOfTile(geometry: Geometry, tile: TileIndex): number[] {
  const [row, column] = [tileRowOf(geometry, tile), tileColumnOf(geometry, tile)];
  return Array.from({ length: geometry.patchesPerTile }, (_, within) =>
    patchOfTile(geometry, row, column, within),
  );
}

/** Standard deviation of a core's samples; `column` counts cores, not tiles. */
function deviation(
  pixels: Uint8Array,
  { coreSize, workingSize }: Geometry,
  row: number,
  column: number,
): number {
  let sum = 0;
  let sumOfSquares = 0;
  for (let y = row * coreSize; y < (row + 1) * coreSize; y++) {
    const from = y * workingSize + column * coreSize;
    // The sums of a row fit into 32 bits, in which V8 adds faster.
    let rowSum = 0;
    let rowSquares = 0;
    for (let at = from; at < from + coreSize; at++) {
      const value = pixels[at]!;
      rowSum = (rowSum + value) | 0;
      rowSquares = (rowSquares + value * value) | 0;
    }
    sum += rowSum;
    sumOfSquares += rowSquares;
  }
  const count = coreSize * coreSize;
  return Math.sqrt(Math.max(0, sumOfSquares / count - (sum / count) ** 2));
}
