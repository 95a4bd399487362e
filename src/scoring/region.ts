/** Finds the region of an image around its highest patch. */
import { columnOf, rowOf } from '../geometry/cells.js';

/** Cells of the region have at least this share of the highest z. */
const REGION_SHARE = 0.5;

export interface CellRectangle {
  /** First and last row and column, inclusive. */
  readonly top: number;
  readonly bottom: number;
  readonly left: number;
  readonly right: number;
}

/**
 * The rectangle around the cells that are connected with a cell (by sides) and have at least half of its z; the cell alone
 * where its z is not positive.
 * @param patchZ robust z per cell [patchGrid squared]; NaN where the patch was not scored
 * @param cell usually the highest
 */
export function regionAround(patchZ: ArrayLike<number>, patchGrid: number, cell: number): CellRectangle {
  const limit = patchZ[cell]! > 0 ? REGION_SHARE * patchZ[cell]! : Number.POSITIVE_INFINITY;
  const found = new Set([cell]);
  for (const current of found) {
    const column = columnOf(current, patchGrid);
    const neighbours = [
      current - patchGrid,
      current + patchGrid,
      ...(column > 0 ? [current - 1] : []),
      ...(column < patchGrid - 1 ? [current + 1] : []),
    ];
    // The iteration over a set includes values that are added during it.
    for (const next of neighbours) if (patchZ[next]! >= limit) found.add(next);
  }
  const rows = [...found].map((each) => rowOf(each, patchGrid));
  const columns = [...found].map((each) => columnOf(each, patchGrid));
  return {
    top: Math.min(...rows),
    bottom: Math.max(...rows),
    left: Math.min(...columns),
    right: Math.max(...columns),
  };
}
