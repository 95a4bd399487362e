/** The K nearest rows of one patch so far, sorted, written directly to their place in the result. */
export class NearestList {
  private readonly similarities: Float64Array;
  private rows: Int32Array = new Int32Array(0);
  private start = 0;

  constructor(readonly k: number) {
    this.similarities = new Float64Array(k);
  }

  /** Similarity of the K-th nearest row: a lower one is not among the K nearest. Minus infinity until there are K. */
  get worst(): number {
    return this.similarities[this.k - 1]!;
  }

  /** Empties the list. Bank rows go to `rows` from `start` on, nearest first, -1 where there are fewer than K. */
  reset(rows: Int32Array, start: number): void {
    this.rows = rows;
    this.start = start;
    this.similarities.fill(Number.NEGATIVE_INFINITY);
    rows.fill(-1, start, start + this.k);
  }

  /** Ties go to the lowest row, in any order of the offers. */
  offer(similarity: number, row: number): void {
    const { similarities, rows, start } = this;
    let rank = this.k - 1;
    if (!this.isBefore(similarity, row, rank)) return;
    while (rank > 0 && this.isBefore(similarity, row, rank - 1)) {
      similarities[rank] = similarities[rank - 1]!;
      rows[start + rank] = rows[start + rank - 1]!;
      rank--;
    }
    similarities[rank] = similarity;
    rows[start + rank] = row;
  }

  /** Offers `rows[i]` with the similarity `values[offset + i]` for every i in [start, end). */
  offerAll(values: Float32Array, offset: number, rows: Int32Array, start: number, end: number): void {
    let entry = start;
    while (entry < end) {
      // Nearly all rows are farther than the K best so far: this test skips eight at a time.
      if (entry + 8 <= end && areAllBelow(values, offset + entry, this.worst)) {
        entry += 8;
        continue;
      }
      const stop = Math.min(end, entry + 8);
      for (; entry < stop; entry++) {
        const similarity = values[offset + entry]!;
        if (similarity >= this.worst) this.offer(similarity, rows[entry]!);
      }
    }
  }

  private isBefore(similarity: number, row: number, rank: number): boolean {
    const other = this.similarities[rank]!;
    if (similarity !== other) return similarity > other;
    const otherRow = this.rows[this.start + rank]!;
    return otherRow < 0 || row < otherRow;
  }
}

/** Whether the eight values from `at` on are all below a bound. */
export function areAllBelow(values: Float32Array, at: number, bound: number): boolean {
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
