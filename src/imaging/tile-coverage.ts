/** Which tiles have their core and halo covered by the pixels received so far. */
import { SaladError } from '../errors/index.js';
import type { Geometry } from '../model/geometry.js';
import type { Box, Placement } from './placement.js';

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
    const { workingSize, tilesPerSide } = this.#geometry;
    const isLast = rowsProduced === this.#placement.rows;
    this.#rowsCovered = isLast ? workingSize : this.#placement.top + rowsProduced;
    const first = this.#tileRowsReady;
    while (this.#tileRowsReady < tilesPerSide && this.#isCovered(this.#tileRowsReady)) this.#tileRowsReady++;
    return tileRows(this.#geometry, first, this.#tileRowsReady);
  }

  coveredTiles(): TilePosition[] {
    return tileRows(this.#geometry, 0, this.#tileRowsReady);
  }

  missingTiles(): TilePosition[] {
    return tileRows(this.#geometry, this.#tileRowsReady, this.#geometry.tilesPerSide);
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

  #isCovered(tileRow: number): boolean {
    const { workingSize, coreSize, haloSize } = this.#geometry;
    return this.#rowsCovered >= Math.min(workingSize, (tileRow + 1) * coreSize + haloSize);
  }
}

/** Coverage by tile cores in any order: a tile is covered once all neighbours its halo reaches have come. */
export class TileCoverage {
  readonly #geometry: Geometry;
  /** How many tiles away the halo reaches. */
  readonly #reach: number;
  readonly #received: Uint8Array;
  /** Tiles still to come before tile i is covered, itself included. */
  readonly #missing: Int32Array;
  #receivedCount = 0;

  constructor(geometry: Geometry) {
    const side = geometry.tilesPerSide;
    this.#geometry = geometry;
    this.#reach = Math.ceil(geometry.haloSize / geometry.coreSize);
    this.#received = new Uint8Array(side * side);
    this.#missing = new Int32Array(side * side);
    for (let row = 0; row < side; row++) {
      for (let column = 0; column < side; column++) {
        this.#missing[row * side + column] = this.#span(row) * this.#span(column);
      }
    }
  }

  get isComplete(): boolean {
    return this.#receivedCount === this.#received.length;
  }

  /** @throws SaladError TILE_OUT_OF_GRID, TILE_DUPLICATE */
  check(row: number, column: number): void {
    const side = this.#geometry.tilesPerSide;
    const inGrid = (at: number) => Number.isInteger(at) && at >= 0 && at < side;
    if (!inGrid(row) || !inGrid(column)) {
      throw new SaladError(
        'TILE_OUT_OF_GRID',
        `tile (${row}, ${column}) is outside the ${side} x ${side} grid`,
      );
    }
    if (this.#received[row * side + column] === 1) {
      throw new SaladError('TILE_DUPLICATE', `tile (${row}, ${column}) was sent before`);
    }
  }

  /** Marks a checked tile as received. */
  take(row: number, column: number): TilePosition[] {
    const side = this.#geometry.tilesPerSide;
    this.#received[row * side + column] = 1;
    this.#receivedCount++;
    const ready: TilePosition[] = [];
    for (let r = this.#first(row); r <= this.#last(row); r++) {
      for (let c = this.#first(column); c <= this.#last(column); c++) {
        const left = this.#missing[r * side + c]! - 1;
        this.#missing[r * side + c] = left;
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

  receivedTiles(): TilePosition[] {
    return this.#where((index) => this.#received[index] === 1);
  }

  /** The part of a tile's core that lies in the placed image, in working pixels; empty where none does. */
  placedBox({ row, column }: TilePosition, placement: Placement): Box {
    const { coreSize } = this.#geometry;
    return {
      top: Math.max(placement.top, row * coreSize),
      left: Math.max(placement.left, column * coreSize),
      bottom: Math.min(placement.top + placement.rows, (row + 1) * coreSize),
      right: Math.min(placement.left + placement.columns, (column + 1) * coreSize),
    };
  }

  #first(at: number): number {
    return Math.max(0, at - this.#reach);
  }

  #last(at: number): number {
    return Math.min(this.#geometry.tilesPerSide - 1, at + this.#reach);
  }

  #span(at: number): number {
    return this.#last(at) - this.#first(at) + 1;
  }

  #where(test: (index: number) => boolean): TilePosition[] {
    const side = this.#geometry.tilesPerSide;
    return tileRows(this.#geometry, 0, side).filter(({ row, column }) => test(row * side + column));
  }
}

/** All tiles of rows [first, end) of the grid, row by row. */
function tileRows(geometry: Geometry, first: number, end: number): TilePosition[] {
  const positions: TilePosition[] = [];
  for (let row = first; row < end; row++) {
    for (let column = 0; column < geometry.tilesPerSide; column++) positions.push({ row, column });
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
