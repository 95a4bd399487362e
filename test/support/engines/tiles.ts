/** Indices of tiles for tests of parts that do not look at the tile grid. */
import type { TileIndex } from '../../../src/geometry/tile-index.js';

export function tileList(...indices: readonly number[]): TileIndex[] {
  return indices as TileIndex[];
}

/** 0 to count - 1. */
export function firstTiles(count: number): TileIndex[] {
  return Array.from({ length: count }, (_, index) => index as TileIndex);
}
