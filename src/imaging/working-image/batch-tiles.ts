/** Copies tiles of a working image into the arrays of a batch. */
import { type TileIndex, tileColumnOf, tileRowOf } from '../../geometry/tile-index.js';
import type { WorkingImage } from './working-image.js';

/** The part of an engine's batch that describes its tiles. */
export interface BatchTiles {
  /** uint8 [tiles, tileHeight, tileWidth]. */
  readonly pixels: Uint8Array;
  /** int32 [tiles, 2]: tile row, tile column. */
  readonly positions: Int32Array;
}

/** Writes a tile, with its halo, and its position to index `index` of a batch. */
export function writeTile(
  { pixels, positions }: BatchTiles,
  index: number,
  image: WorkingImage,
  tile: TileIndex,
): void {
  const { geometry } = image;
  const { tilePixels } = geometry;
  positions[2 * index] = tileRowOf(geometry, tile);
  positions[2 * index + 1] = tileColumnOf(geometry, tile);
  image.cutTile(tile, pixels.subarray(index * tilePixels, (index + 1) * tilePixels));
}
