/** The K nearest so far of one patch, kept in order where they are to be found in the end. */
export class NearestList {
  private readonly similarities: Float64Array;
  private found: Int32Array = new Int32Array(0);
  private at = 0;

  constructor(readonly k: number) {
    this.similarities = new Float64Array(k);
  }

  /** What a row must have to be among the K nearest; minus infinity until there are K. */
  get worst(): number {
    return this.similarities[this.k - 1]!;
  }

  /** Begins anew; bank rows, nearest first, go to `found` from `at` on, -1 where there are fewer than K. */
  reset(found: Int32Array, at: number): void {
    this.found = found;
    this.at = at;
    this.similarities.fill(Number.NEGATIVE_INFINITY);
    found.fill(-1, at, at + this.k);
  }

  /** Ties go to the lowest row, in whatever order rows come. */
  offer(similarity: number, row: number): void {
    const { similarities, found, at } = this;
    let rank = this.k - 1;
    if (!this.isBefore(similarity, row, rank)) return;
    while (rank > 0 && this.isBefore(similarity, row, rank - 1)) {
      similarities[rank] = similarities[rank - 1]!;
      found[at + rank] = found[at + rank - 1]!;
      rank--;
    }
    similarities[rank] = similarity;
    found[at + rank] = row;
  }

  /** Offers `rows[i]` with `known[offset + i]` for every i in [start, end). */
  offerAll(known: Float32Array, offset: number, rows: Int32Array, start: number, end: number): void {
    let entry = start;
    while (entry < end) {
      // Nearly all are farther than the K best so far: eight are passed over at once.
      if (entry + 8 <= end && areBelow(known, offset + entry, this.worst)) {
        entry += 8;
        continue;
      }
      const stop = Math.min(end, entry + 8);
      for (; entry < stop; entry++) {
        const similarity = known[offset + entry]!;
        if (similarity >= this.worst) this.offer(similarity, rows[entry]!);
      }
    }
  }

  private isBefore(similarity: number, row: number, rank: number): boolean {
    const other = this.similarities[rank]!;
    if (similarity !== other) return similarity > other;
    const otherRow = this.found[this.at + rank]!;
    return otherRow < 0 || row < otherRow;
  }
}

/** Whether eight values are all below a bound. */
export function areBelow(values: Float32Array, at: number, bound: number): boolean {
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
