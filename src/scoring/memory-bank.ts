/** The memory bank: unit embeddings of normal patches (prototypes), with their grid positions and source images. */
import { SaladError } from '../errors/index.js';
import { cellAt, columnOf, rowOf } from '../geometry/cells.js';

export interface MemoryBank {
  readonly rows: number;
  readonly dimension: number;
  /** float32 [rows, dimension], unit length. */
  readonly prototypes: Float32Array;
  /** int32 [rows, 2]: patch row, patch column in the grid. */
  readonly positions: Int32Array;
  /** int32 [rows]: index into the manifest's training.sourceImages. */
  readonly sources: Int32Array;
}

/** Largest allowed difference of a float32 prototype's length from 1. */
const UNIT_TOLERANCE = 1e-5;

/** Scales every row to unit length in place, computed in float64; rows of zeros are unchanged. */
export function normaliseRows(values: Float32Array, dimension: number): Float32Array {
  for (let start = 0; start < values.length; start += dimension) {
    let sum = 0;
    for (let index = start; index < start + dimension; index++) sum += values[index]! ** 2;
    const scale = sum > 0 ? 1 / Math.sqrt(sum) : 0;
    for (let index = start; index < start + dimension; index++) values[index] = values[index]! * scale;
  }
  return values;
}

/** Copies the rows `indices` of a bank, in that order. */
export function selectRows(bank: MemoryBank, indices: ArrayLike<number>): MemoryBank {
  const rows = indices.length;
  const { dimension } = bank;
  const prototypes = new Float32Array(rows * dimension);
  const positions = new Int32Array(rows * 2);
  const sources = new Int32Array(rows);
  for (let row = 0; row < rows; row++) {
    const from = indices[row]!;
    prototypes.set(bank.prototypes.subarray(from * dimension, (from + 1) * dimension), row * dimension);
    positions.set(bank.positions.subarray(from * 2, from * 2 + 2), row * 2);
    sources[row] = bank.sources[from]!;
  }
  return { rows, dimension, prototypes, positions, sources };
}

/**
 * Marks, for every cell of the grid, the prototypes within `radius` cells in row and in column.
 * @returns u8 [patchGrid squared, rows]: 1 where the prototype is searched for a patch of that cell
 */
export function searchWindow(bank: MemoryBank, patchGrid: number, radius: number): Uint8Array {
  const window = new Uint8Array(patchGrid * patchGrid * bank.rows);
  for (let row = 0; row < bank.rows; row++) {
    const gridRow = bank.positions[2 * row]!;
    const gridColumn = bank.positions[2 * row + 1]!;
    const bottom = Math.min(patchGrid - 1, gridRow + radius);
    const right = Math.min(patchGrid - 1, gridColumn + radius);
    for (let y = Math.max(0, gridRow - radius); y <= bottom; y++) {
      for (let x = Math.max(0, gridColumn - radius); x <= right; x++) {
        window[cellAt(y, x, patchGrid) * bank.rows + row] = 1;
      }
    }
  }
  return window;
}

/**
 * Counts the prototypes that are searched for a patch of each cell; a null radius searches all.
 * @returns int32 [patchGrid squared]
 */
export function candidatesPerCell(bank: MemoryBank, patchGrid: number, radius: number | null): Int32Array {
  const counts = new Int32Array(patchGrid * patchGrid);
  if (radius === null) return counts.fill(bank.rows);
  const rowsInCell = new Int32Array(counts.length);
  for (let row = 0; row < bank.rows; row++) {
    const cell = cellAt(bank.positions[2 * row]!, bank.positions[2 * row + 1]!, patchGrid);
    rowsInCell[cell] = rowsInCell[cell]! + 1;
  }
  for (let cell = 0; cell < counts.length; cell++) {
    const gridRow = rowOf(cell, patchGrid);
    const gridColumn = columnOf(cell, patchGrid);
    let sum = 0;
    for (let y = Math.max(0, gridRow - radius); y <= Math.min(patchGrid - 1, gridRow + radius); y++) {
      for (let x = Math.max(0, gridColumn - radius); x <= Math.min(patchGrid - 1, gridColumn + radius); x++) {
        sum += rowsInCell[cellAt(y, x, patchGrid)]!;
      }
    }
    counts[cell] = sum;
  }
  return counts;
}

function invalid(message: string): SaladError {
  return new SaladError('BUNDLE_INVALID', `memory bank: ${message}`);
}

/**
 * Checks that a bank can be searched with the settings of a scoring section.
 * @throws SaladError BUNDLE_INVALID where a row is not of unit length or outside the grid, an array has the
 *   wrong size, or fewer than `neighbourCount` prototypes are searched for a cell
 */
export function checkMemoryBank(
  bank: MemoryBank,
  patchGrid: number,
  search: { readonly neighbourCount: number; readonly searchRadius: number | null },
): void {
  const { rows, dimension, prototypes, positions, sources } = bank;
  if (prototypes.length !== rows * dimension || positions.length !== rows * 2 || sources.length !== rows) {
    throw invalid(`prototypes, positions and sources must have ${rows} rows`);
  }
  for (let row = 0; row < rows; row++) {
    let sum = 0;
    for (let axis = 0; axis < dimension; axis++) sum += prototypes[row * dimension + axis]! ** 2;
    if (!(Math.abs(Math.sqrt(sum) - 1) <= UNIT_TOLERANCE)) {
      throw invalid(`row ${row} has length ${Math.sqrt(sum)} and must have length 1`);
    }
    const isInside = [positions[2 * row]!, positions[2 * row + 1]!].every((at) => at >= 0 && at < patchGrid);
    if (!isInside) throw invalid(`row ${row} lies outside the patch grid of ${patchGrid} x ${patchGrid}`);
  }
  const candidates = candidatesPerCell(bank, patchGrid, search.searchRadius);
  const minCell = candidates.reduce((least, count, cell) => (count < candidates[least]! ? cell : least), 0);
  if (candidates[minCell]! < search.neighbourCount) {
    throw invalid(
      `the search of cell (${rowOf(minCell, patchGrid)}, ${columnOf(minCell, patchGrid)}) covers ` +
        `${candidates[minCell]} prototypes, fewer than neighbourCount ${search.neighbourCount}`,
    );
  }
}
