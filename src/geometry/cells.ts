/** Converts between the index of a cell in a grid, counted row by row, and its row and column. */

/** @param columns of the grid */
export function cellAt(row: number, column: number, columns: number): number {
  return row * columns + column;
}

/** @param columns of the grid */
export function rowOf(cell: number, columns: number): number {
  return Math.floor(cell / columns);
}

/** @param columns of the grid */
export function columnOf(cell: number, columns: number): number {
  return cell % columns;
}
