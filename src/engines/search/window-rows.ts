/** Exact search over the prototypes of a patch's window only: a small part of a large bank. */
import type { Geometry } from '../../model/geometry.js';
import type { MemoryBank } from '../../scoring/memory-bank.js';

/** Bank rows by cell of the patch grid. */
export class WindowRows {
  /** Bank rows, cell by cell and ascending within a cell. */
  readonly rows: Int32Array;
  /** First entry of every cell in `rows`; one more at the end. */
  private readonly starts: Int32Array;
  private readonly grid: number;

  constructor(
    private readonly bank: MemoryBank,
    { patchGrid }: Pick<Geometry, 'patchGrid'>,
    private readonly radius: number,
  ) {
    this.grid = patchGrid;
    this.rows = new Int32Array(bank.rows);
    this.starts = new Int32Array(patchGrid * patchGrid + 1);
    const cellOf = (row: number): number =>
      bank.positions[2 * row]! * patchGrid + bank.positions[2 * row + 1]!;
    for (let row = 0; row < bank.rows; row++) this.starts[cellOf(row) + 1]! += 1;
    for (let cell = 0; cell < patchGrid * patchGrid; cell++) this.starts[cell + 1]! += this.starts[cell]!;
    const next = this.starts.slice();
    for (let row = 0; row < bank.rows; row++) {
      const cell = cellOf(row);
      this.rows[next[cell]!] = row;
      next[cell]! += 1;
    }
  }

  /** Whether a prototype is searched for a patch of that cell. */
  isInside(row: number, cell: number): boolean {
    const { positions } = this.bank;
    const rowDistance = Math.abs(positions[2 * row]! - Math.floor(cell / this.grid));
    return (
      rowDistance <= this.radius && Math.abs(positions[2 * row + 1]! - (cell % this.grid)) <= this.radius
    );
  }

  /**
   * Writes the `k` nearest rows of the window into `found` at `at`, nearest first.
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
    const similarities = new Float64Array(k).fill(Number.NEGATIVE_INFINITY);
    found.fill(-1, at, at + k);
    for (const [start, end] of this.spans(cell)) {
      for (let entry = start; entry < end; entry++) {
        const row = this.rows[entry]!;
        const similarity = this.similarity(queries, offset, row);
        if (similarity < similarities[k - 1]!) continue;
        insert(similarity, row, similarities, found, at);
      }
    }
  }

  /**
   * The same where the similarities are known already.
   * @param known float32: that of entry i of `rows` is at `offset` + i, which may be negative for others than the window's.
   */
  nearestOf(
    known: Float32Array,
    offset: number,
    cell: number,
    k: number,
    found: Int32Array,
    at: number,
  ): void {
    const similarities = new Float64Array(k).fill(Number.NEGATIVE_INFINITY);
    found.fill(-1, at, at + k);
    let worst = Number.NEGATIVE_INFINITY;
    for (const [start, end] of this.spans(cell)) {
      let entry = start;
      while (entry < end) {
        // Nearly all are farther than the K best so far: eight are passed over at once.
        if (entry + 8 <= end && areBelow(known, offset + entry, worst)) {
          entry += 8;
          continue;
        }
        const stop = Math.min(end, entry + 8);
        for (; entry < stop; entry++) {
          const similarity = known[offset + entry]!;
          if (similarity < worst) continue;
          insert(similarity, this.rows[entry]!, similarities, found, at);
          worst = similarities[k - 1]!;
        }
      }
    }
  }

  /** Entries of `rows` in rows [top, bottom) of the grid, as far as it goes. */
  spanOfRows(top: number, bottom: number): readonly [number, number] {
    const at = (row: number): number => this.starts[Math.min(this.grid, Math.max(0, row)) * this.grid]!;
    return [at(top), at(bottom)];
  }

  /** Entries of `rows` in a cell's window: [start, end), one for every row of the grid. */
  private *spans(cell: number): Generator<readonly [number, number]> {
    const gridRow = Math.floor(cell / this.grid);
    const left = Math.max(0, (cell % this.grid) - this.radius);
    const right = Math.min(this.grid - 1, (cell % this.grid) + this.radius);
    const bottom = Math.min(this.grid - 1, gridRow + this.radius);
    for (let y = Math.max(0, gridRow - this.radius); y <= bottom; y++) {
      // The cells of a window lie side by side within a row of the grid.
      yield [this.starts[y * this.grid + left]!, this.starts[y * this.grid + right + 1]!];
    }
  }

  /** Four sums at a time: the processor need not wait for one product before it adds the next. */
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

/** Whether eight values are all below a bound. */
function areBelow(values: Float32Array, at: number, bound: number): boolean {
  return (
    values[at]! < bound &&
    values[at + 1]! < bound &&
    values[at + 2]! < bound &&
    values[at + 3]! < bound &&
    values[at + 4]! < bound &&
    values[at + 5]! < bound &&
    values[at + 6]! < bound &&
    values[at + 7]! < bound
  );
}

/** Into the K best so far, where it belongs there. */
function insert(
  similarity: number,
  row: number,
  similarities: Float64Array,
  found: Int32Array,
  at: number,
): void {
  let rank = similarities.length - 1;
  while (rank > 0 && isNearer(similarity, row, similarities[rank - 1]!, found[at + rank - 1]!)) {
    similarities[rank] = similarities[rank - 1]!;
    found[at + rank] = found[at + rank - 1]!;
    rank--;
  }
  if (!isNearer(similarity, row, similarities[rank]!, found[at + rank]!)) return;
  similarities[rank] = similarity;
  found[at + rank] = row;
}

function isNearer(similarity: number, row: number, other: number, otherRow: number): boolean {
  return similarity > other || (similarity === other && (otherRow < 0 || row < otherRow));
}
