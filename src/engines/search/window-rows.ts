/** Finds the prototypes in the search window of a patch, and the nearest of them. */
import { cellAt } from '../../geometry/cells.js';
import type { Geometry } from '../../geometry/geometry.js';
import type { MemoryBank } from '../../scoring/memory-bank.js';
import { NearestList } from './nearest-list.js';

/** Bank rows by cell of the patch grid. */
export class WindowRows {
  /** Bank rows, cell by cell and ascending within a cell. */
  readonly rows: Int32Array;
  /** Index in `rows` of every cell's first row, then the length of `rows`. */
  private readonly starts: Int32Array;
  private readonly grid: number;

  constructor(
    private readonly bank: MemoryBank,
    { patchGrid }: Pick<Geometry, 'patchGrid'>,
    readonly radius: number,
  ) {
    this.grid = patchGrid;
    this.rows = new Int32Array(bank.rows);
    this.starts = new Int32Array(patchGrid * patchGrid + 1);
    const cellOf = (row: number): number =>
      cellAt(bank.positions[2 * row]!, bank.positions[2 * row + 1]!, patchGrid);
    for (let row = 0; row < bank.rows; row++) this.starts[cellOf(row) + 1]! += 1;
    for (let cell = 0; cell < patchGrid * patchGrid; cell++) this.starts[cell + 1]! += this.starts[cell]!;
    const next = this.starts.slice();
    for (let row = 0; row < bank.rows; row++) {
      const cell = cellOf(row);
      this.rows[next[cell]!] = row;
      next[cell]! += 1;
    }
  }

  /** Whether a prototype lies in the search window of a patch of that cell. */
  isInside(row: number, cell: number): boolean {
    const { positions } = this.bank;
    const rowDistance = Math.abs(positions[2 * row]! - Math.floor(cell / this.grid));
    return (
      rowDistance <= this.radius && Math.abs(positions[2 * row + 1]! - (cell % this.grid)) <= this.radius
    );
  }

  /**
   * Writes the `k` nearest rows of the window into `found` from `at` on, nearest first.
   * @param queries float32 unit vectors; the query starts at `offset`.
   */
  nearest(
    queries: Float32Array,
    offset: number,
    cell: number,
    k: number,
    found: Int32Array,
    at: number,
  ): void {
    const nearest = new NearestList(k);
    nearest.reset(found, at);
    for (const [start, end] of this.ranges(cell)) {
      for (let entry = start; entry < end; entry++) {
        const row = this.rows[entry]!;
        nearest.offer(this.similarity(queries, offset, row), row);
      }
    }
  }

  /** The ranges [start, end) of `rows` in a cell's window, one for every row of the grid that the window reaches. */
  *ranges(cell: number): Generator<readonly [number, number]> {
    const gridRow = Math.floor(cell / this.grid);
    const column = cell % this.grid;
    const bottom = Math.min(this.grid - 1, gridRow + this.radius);
    for (let y = Math.max(0, gridRow - this.radius); y <= bottom; y++) {
      yield this.range(y, column - this.radius, column + this.radius + 1);
    }
  }

  /** The range [start, end) of `rows` in the cells [left, right) of row `y` of the grid, clipped to the grid. */
  range(y: number, left: number, right: number): readonly [number, number] {
    const at = (x: number): number => this.starts[y * this.grid + Math.min(this.grid, Math.max(0, x))]!;
    return [at(left), at(right)];
  }

  /** Four independent sums, so that the processor can add the next product before the last addition is done. */
  private similarity(queries: Float32Array, offset: number, row: number): number {
    const { prototypes, dimension } = this.bank;
    const start = row * dimension;
    const even = dimension - (dimension % 4);
    let a = 0;
    let b = 0;
    let c = 0;
    let d = 0;
    for (let axis = 0; axis < even; axis += 4) {
      a += queries[offset + axis]! * prototypes[start + axis]!;
      b += queries[offset + axis + 1]! * prototypes[start + axis + 1]!;
      c += queries[offset + axis + 2]! * prototypes[start + axis + 2]!;
      d += queries[offset + axis + 3]! * prototypes[start + axis + 3]!;
    }
    for (let axis = even; axis < dimension; axis++) a += queries[offset + axis]! * prototypes[start + axis]!;
    return a + b + (c + d);
  }
}
