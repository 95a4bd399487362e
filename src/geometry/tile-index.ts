/** The identity of a tile within its image, from the pixels to the scores. */
import { cellAt, columnOf, rowOf } from './cells.js';
import type { Geometry } from './geometry.js';

declare const brand: unique symbol;

/** Index of a tile in the tile grid of its image, row by row, from 0. Other numbers are not assignable to it. */
export type TileIndex = number & { readonly [brand]: 'TileIndex' };

/** Row and column of a tile in the tile grid, as clients send them. */
export interface TilePosition {
  readonly row: number;
  readonly column: number;
}

type TileGrid = Pick<Geometry, 'tileColumns'>;

/** @param row in the tile grid, checked by the caller, as is `column` */
export function tileIndexAt({ tileColumns }: TileGrid, row: number, column: number): TileIndex {
  return cellAt(row, column, tileColumns) as TileIndex;
}

export function tileRowOf({ tileColumns }: TileGrid, tile: TileIndex): number {
  return rowOf(tile, tileColumns);
}

export function tileColumnOf({ tileColumns }: TileGrid, tile: TileIndex): number {
  return columnOf(tile, tileColumns);
}

export function tilePositionOf(grid: TileGrid, tile: TileIndex): TilePosition {
  return { row: tileRowOf(grid, tile), column: tileColumnOf(grid, tile) };
}

/** The tiles of rows [first, end) of the tile grid, row by row. */
export function tilesOfRows({ tileColumns }: TileGrid, first: number, end: number): TileIndex[] {
  const tiles: TileIndex[] = [];
  for (let tile = first * tileColumns; tile < end * tileColumns; tile++) tiles.push(tile as TileIndex);
  return tiles;
}

/** All tiles of an image, row by row. */
export function allTiles({ tileColumns, tileRows }: Pick<Geometry, 'tileColumns' | 'tileRows'>): TileIndex[] {
  return tilesOfRows({ tileColumns }, 0, tileRows);
}
