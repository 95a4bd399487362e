/** Tracks which tiles are covered: all pixels of their core and halo have been received. */
import { SaladError } from '../../errors/index.js';
import type { Geometry } from '../../geometry/geometry.js';
import type { Box, Placement } from '../../geometry/placement.js';
import {
  type TileIndex,
  tileColumnOf,
  tileIndexAt,
  tileRowOf,
  tilesOfRows,
} from '../../geometry/tile-index.js';

/**
 * Coverage by whole rows from the top: all tiles of a row become covered together. The mirrored halo beyond the border
 * needs no additional row: the mirrored pixels lie between the tile's clipped first and last row.
 */
export class RowCoverage {
  readonly #geometry: Geometry;
  readonly #placement: Placement;
  /** Number of working rows from the top that are final, including the black rows around the image. */
  #rowsCovered: number;
  /** Number of rows of tiles reported as ready. */
  #tileRowsReady = 0;

  constructor(geometry: Geometry, placement: Placement) {
    this.#geometry = geometry;
    this.#placement = placement;
    this.#rowsCovered = placement.top;
  }

  get isComplete(): boolean {
    return this.#rowsCovered === this.#geometry.workingSize;
  }

  /**
   * Updates the coverage.
   * @param rowsProduced number of final rows of the placed image, counted from its top
   * @returns the tiles that became covered
   */
  update(rowsProduced: number): TileIndex[] {
    const { workingSize, tileRows: count } = this.#geometry;
    const isLast = rowsProduced === this.#placement.rows;
    this.#rowsCovered = isLast ? workingSize : this.#placement.top + rowsProduced;
    const first = this.#tileRowsReady;
    while (this.#tileRowsReady < count && this.#isCovered(this.#tileRowsReady)) this.#tileRowsReady++;
    return tilesOfRows(this.#geometry, first, this.#tileRowsReady);
  }

  coveredTiles(): TileIndex[] {
    return tilesOfRows(this.#geometry, 0, this.#tileRowsReady);
  }

  missingTiles(): TileIndex[] {
    return tilesOfRows(this.#geometry, this.#tileRowsReady, this.#geometry.tileRows);
  }

  /** The received part of the placed image, as a new array. */
  valuesOf(image: Float32Array, placement: Placement): Float32Array {
    const end = Math.min(this.#rowsCovered, placement.top + placement.rows);
    const box = {
      top: placement.top,
      left: placement.left,
      bottom: end,
      right: placement.left + placement.columns,
    };
    const values = new Float32Array(Math.max(0, end - box.top) * placement.columns);
    copyBox(image, this.#geometry.workingSize, box, values, 0);
    return values;
  }

  /** The received part of the placed image, in working pixels. */
  receivedBoxes({ top, left, rows, columns }: Placement): Box[] {
    return [{ top, left, bottom: Math.min(this.#rowsCovered, top + rows), right: left + columns }];
  }

  #isCovered(tileRow: number): boolean {
    const { workingSize, coreSize, haloSize } = this.#geometry;
    return this.#rowsCovered >= Math.min(workingSize, (tileRow + 1) * coreSize + haloSize);
  }
}

/** Coverage by tile cores in any order: a tile is covered when its core and all cores in its halo were received. */
export class TileCoverage {
  readonly #geometry: Geometry;
  /** The tiles in the halo of a tile, including itself, down and across. */
  readonly #down: Axis;
  readonly #across: Axis;
  readonly #received: Uint8Array;
  /** Number of tiles that tile i waits for, including itself. */
  readonly #missing: Int32Array;
  #receivedCount = 0;

  constructor(geometry: Geometry) {
    const { coreSize, coreColumns, haloSize, tileRows: rows, tileColumns: columns, tileCount } = geometry;
    this.#geometry = geometry;
    this.#down = new Axis(rows, Math.ceil(haloSize / coreSize));
    this.#across = new Axis(columns, Math.ceil(haloSize / coreColumns));
    this.#received = new Uint8Array(tileCount);
    this.#missing = new Int32Array(tileCount);
    for (let row = 0; row < rows; row++) {
      for (let column = 0; column < columns; column++) {
        this.#missing[tileIndexAt(geometry, row, column)] = this.#down.span(row) * this.#across.span(column);
      }
    }
  }

  get isComplete(): boolean {
    return this.#receivedCount === this.#received.length;
  }

  /** @throws SaladError TILE_OUT_OF_GRID, TILE_DUPLICATE */
  check(row: number, column: number): void {
    const { tileRows: rows, tileColumns: columns } = this.#geometry;
    const inGrid = (at: number, end: number) => Number.isInteger(at) && at >= 0 && at < end;
    if (!inGrid(row, rows) || !inGrid(column, columns)) {
      throw new SaladError(
        'TILE_OUT_OF_GRID',
        `tile (${row}, ${column}) is outside the ${rows} x ${columns} grid`,
      );
    }
    if (this.#received[tileIndexAt(this.#geometry, row, column)] === 1) {
      throw new SaladError('TILE_DUPLICATE', `tile (${row}, ${column}) was sent before`);
    }
  }

  /** Marks a checked tile as received. @returns the tiles that became covered */
  add(row: number, column: number): TileIndex[] {
    this.#received[tileIndexAt(this.#geometry, row, column)] = 1;
    this.#receivedCount++;
    const ready: TileIndex[] = [];
    for (let r = this.#down.first(row); r <= this.#down.last(row); r++) {
      for (let c = this.#across.first(column); c <= this.#across.last(column); c++) {
        const tile = tileIndexAt(this.#geometry, r, c);
        const left = this.#missing[tile]! - 1;
        this.#missing[tile] = left;
        if (left === 0) ready.push(tile);
      }
    }
    return ready;
  }

  coveredTiles(): TileIndex[] {
    return this.#tilesWhere((tile) => this.#missing[tile] === 0);
  }

  missingTiles(): TileIndex[] {
    return this.#tilesWhere((tile) => this.#missing[tile]! > 0);
  }

  /** The received part of the placed image, as a new array. */
  valuesOf(image: Float32Array, placement: Placement): Float32Array {
    const values = new Float32Array(placement.rows * placement.columns);
    let count = 0;
    for (const box of this.#placedBoxes(placement)) {
      count = copyBox(image, this.#geometry.workingSize, box, values, count);
    }
    return values.subarray(0, count);
  }

  /** The received parts of the placed image, in working pixels; one box when all tiles were received. */
  receivedBoxes(placement: Placement): Box[] {
    if (!this.isComplete) return this.#placedBoxes(placement);
    const { top, left, rows, columns } = placement;
    return [{ top, left, bottom: top + rows, right: left + columns }];
  }

  receivedTiles(): TileIndex[] {
    return this.#tilesWhere((tile) => this.#received[tile] === 1);
  }

  /** The part of a tile's core that lies in the placed image, in working pixels; empty where none does. */
  placedBox(row: number, column: number, placement: Placement): Box {
    const { coreSize, coreColumns } = this.#geometry;
    return {
      top: Math.max(placement.top, row * coreSize),
      left: Math.max(placement.left, column * coreColumns),
      bottom: Math.min(placement.top + placement.rows, (row + 1) * coreSize),
      right: Math.min(placement.left + placement.columns, (column + 1) * coreColumns),
    };
  }

  #placedBoxes(placement: Placement): Box[] {
    const grid = this.#geometry;
    return this.receivedTiles().map((tile) =>
      this.placedBox(tileRowOf(grid, tile), tileColumnOf(grid, tile), placement),
    );
  }

  #tilesWhere(test: (tile: TileIndex) => boolean): TileIndex[] {
    return tilesOfRows(this.#geometry, 0, this.#geometry.tileRows).filter(test);
  }
}

/** `count` tiles along an axis; the halo of each reaches into `reach` tiles on either side. */
class Axis {
  constructor(
    private readonly count: number,
    private readonly reach: number,
  ) {}

  first(at: number): number {
    return Math.max(0, at - this.reach);
  }

  last(at: number): number {
    return Math.min(this.count - 1, at + this.reach);
  }

  span(at: number): number {
    return this.last(at) - this.first(at) + 1;
  }
}

/** Appends a box of `image` [size, size] to `target` from index `at`; returns the index after it. */
function copyBox(image: Float32Array, size: number, box: Box, target: Float32Array, at: number): number {
  let next = at;
  for (let y = box.top; y < box.bottom; y++) {
    for (let x = box.left; x < box.right; x++) target[next++] = image[y * size + x]!;
  }
  return next;
}
