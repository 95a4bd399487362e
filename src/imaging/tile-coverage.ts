/** Which tiles have their core and halo covered by the pixels received so far. */
import { SaladError } from '../errors/index.js';
import type { Geometry } from '../geometry/geometry.js';
import type { Box, Placement } from '../geometry/placement.js';

/** A place in the tile grid. */
export interface TilePosition {
  readonly row: number;
  readonly column: number;
}

/**
 * Coverage by whole rows from the top: a row of tiles is covered at once. Mirrored halo beyond the border needs
 * no row of its own: what it mirrors lies between the tile's clipped first and last row.
 */
export class RowCoverage {
  readonly #geometry: Geometry;
  readonly #placement: Placement;
  /** Working rows from the top that are final, the black ones around the image included. */
  #rowsCovered: number;
  /** Rows of tiles reported as ready. */
  #tileRowsReady = 0;

  constructor(geometry: Geometry, placement: Placement) {
    this.#geometry = geometry;
    this.#placement = placement;
    this.#rowsCovered = placement.top;
  }

  get isComplete(): boolean {
    return this.#rowsCovered === this.#geometry.workingSize;
  }

  /** @param rowsProduced rows of the placed image that are there, counted from its top */
  take(rowsProduced: number): TilePosition[] {
    const { workingSize, tileRows: count } = this.#geometry;
    const isLast = rowsProduced === this.#placement.rows;
    this.#rowsCovered = isLast ? workingSize : this.#placement.top + rowsProduced;
    const first = this.#tileRowsReady;
    while (this.#tileRowsReady < count && this.#isCovered(this.#tileRowsReady)) this.#tileRowsReady++;
    return tileRows(this.#geometry, first, this.#tileRowsReady);
  }

  coveredTiles(): TilePosition[] {
    return tileRows(this.#geometry, 0, this.#tileRowsReady);
  }

  missingTiles(): TilePosition[] {
    return tileRows(this.#geometry, this.#tileRowsReady, this.#geometry.tileRows);
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

/** Coverage by tile cores in any order: a tile is covered once all neighbours its halo reaches have come. */
export class TileCoverage {
  readonly #geometry: Geometry;
  /** The tiles that the halo of a tile reaches into, its own among them, down and across. */
  readonly #down: Axis;
  readonly #across: Axis;
  readonly #received: Uint8Array;
  /** Tiles still to come before tile i is covered, itself included. */
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
        this.#missing[row * columns + column] = this.#down.span(row) * this.#across.span(column);
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
    if (this.#received[row * columns + column] === 1) {
      throw new SaladError('TILE_DUPLICATE', `tile (${row}, ${column}) was sent before`);
    }
  }

  /** Marks a checked tile as received. */
  take(row: number, column: number): TilePosition[] {
    const { tileColumns: columns } = this.#geometry;
    this.#received[row * columns + column] = 1;
    this.#receivedCount++;
    const ready: TilePosition[] = [];
    for (let r = this.#down.first(row); r <= this.#down.last(row); r++) {
      for (let c = this.#across.first(column); c <= this.#across.last(column); c++) {
        const left = this.#missing[r * columns + c]! - 1;
        this.#missing[r * columns + c] = left;
        if (left === 0) ready.push({ row: r, column: c });
      }
    }
    return ready;
  }

  coveredTiles(): TilePosition[] {
    return this.#where((index) => this.#missing[index] === 0);
  }

  missingTiles(): TilePosition[] {
    return this.#where((index) => this.#missing[index]! > 0);
  }

  /** The received part of the placed image, as a new array. */
  valuesOf(image: Float32Array, placement: Placement): Float32Array {
    const values = new Float32Array(placement.rows * placement.columns);
    let count = 0;
    for (const tile of this.receivedTiles()) {
      count = copyBox(image, this.#geometry.workingSize, this.placedBox(tile, placement), values, count);
    }
    return values.subarray(0, count);
  }

  /** The received parts of the placed image, in working pixels; all of it where all tiles have come. */
  receivedBoxes(placement: Placement): Box[] {
    if (!this.isComplete) return this.receivedTiles().map((tile) => this.placedBox(tile, placement));
    const { top, left, rows, columns } = placement;
    return [{ top, left, bottom: top + rows, right: left + columns }];
  }

  receivedTiles(): TilePosition[] {
    return this.#where((index) => this.#received[index] === 1);
  }

  /** The part of a tile's core that lies in the placed image, in working pixels; empty where none does. */
  placedBox({ row, column }: TilePosition, placement: Placement): Box {
    const { coreSize, coreColumns } = this.#geometry;
    return {
      top: Math.max(placement.top, row * coreSize),
      left: Math.max(placement.left, column * coreColumns),
      bottom: Math.min(placement.top + placement.rows, (row + 1) * coreSize),
      right: Math.min(placement.left + placement.columns, (column + 1) * coreColumns),
    };
  }

  #where(test: (index: number) => boolean): TilePosition[] {
    const { tileRows: rows, tileColumns: columns } = this.#geometry;
    return tileRows(this.#geometry, 0, rows).filter(({ row, column }) => test(row * columns + column));
  }
}

/** `count` tiles in a line, each of which reaches `reach` tiles to either side. */
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

/** All tiles of rows [first, end) of the grid, row by row. */
function tileRows(geometry: Geometry, first: number, end: number): TilePosition[] {
  const positions: TilePosition[] = [];
  for (let row = first; row < end; row++) {
    for (let column = 0; column < geometry.tileColumns; column++) positions.push({ row, column });
  }
  return positions;
}

/** Appends a box of `image` [size, size] to `target` from index `at`; returns the index after it. */
function copyBox(image: Float32Array, size: number, box: Box, target: Float32Array, at: number): number {
  let next = at;
  for (let y = box.top; y < box.bottom; y++) {
    for (let x = box.left; x < box.right; x++) target[next++] = image[y * size + x]!;
  }
  return next;
}
