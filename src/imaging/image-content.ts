/**
 * Whether an image holds anything to score. A blank exposure, a constant image, or one with nothing but noise on a
 * smooth shade has no patch that could be like or unlike anatomy: whatever a model says of it says nothing.
 *
 * The image is laid out in 8 x 8 blocks. It holds something
 *
 * - if the display values of one block have a standard deviation of `CONTRAST` or more; else, once their smooth trend
 *   (a quadratic surface) is taken from the means of the blocks,
 * - if what is left varies by at least one stored level, and at least `COHERENCE` of its variance is in those means:
 *   of noise without a pattern 1 / (pixels of a block) is.
 *
 * Of 5,532 radiographs (8 bits) the least contrast of the best block is 23 and the least coherence is 0.09.
 */
import type { Placement } from '../geometry/placement.js';

/** Blocks down and across. */
const GRID = 8;
/** Standard deviation of a block, in display values of 0 to 255. */
const CONTRAST = 4;
const COHERENCE = 0.01;
/** A source smaller than this part of the working image, either way, shows a patch of it as a handful of samples. */
const SMALLEST_PART = 1 / 16;

export class ImageContent {
  /** Block of each column and each row of the placed image. */
  readonly #blockOfColumn: Uint8Array;
  readonly #blockOfRow: Uint8Array;
  readonly #pixels = new Uint32Array(GRID * GRID);
  readonly #counts = new Uint32Array(GRID * GRID);
  readonly #sums = new Float64Array(GRID * GRID);
  readonly #squares = new Float64Array(GRID * GRID);
  #isShown = false;

  /** @param placement where the source lies in the working image; what is around it does not count */
  constructor(private readonly placement: Placement) {
    this.#blockOfColumn = blocksOf(placement.columns);
    this.#blockOfRow = blocksOf(placement.rows);
    const [down, across] = [this.#blockOfRow, this.#blockOfColumn].map((blocks) => {
      const sizes = new Uint32Array(GRID);
      for (const block of blocks) sizes[block] = sizes[block]! + 1;
      return sizes;
    });
    for (let i = 0; i < GRID * GRID; i++) {
      this.#pixels[i] = down![Math.floor(i / GRID)]! * across![i % GRID]!;
    }
  }

  /** A block with contrast has come: the image holds something, whatever follows. */
  get isShown(): boolean {
    return this.#isShown;
  }

  /**
   * Takes display values in [0, 255] of one row.
   * @param values from index `from` on, for the working pixels (y, x) to (y, x + count - 1), each once
   */
  add(values: ArrayLike<number>, from: number, y: number, x: number, count: number): void {
    if (this.#isShown) return;
    const { top, left, rows, columns } = this.placement;
    const row = y - top;
    if (row < 0 || row >= rows) return;
    const first = Math.max(x, left);
    const end = Math.min(x + count, left + columns);
    const blockRow = GRID * this.#blockOfRow[row]!;
    for (let at = first; at < end; ) {
      const block = blockRow + this.#blockOfColumn[at - left]!;
      let sum = 0;
      let squares = 0;
      const start = at;
      for (; at < end && blockRow + this.#blockOfColumn[at - left]! === block; at++) {
        const value = values[from + at - x]!;
        sum += value;
        squares += value * value;
      }
      this.#sums[block] = this.#sums[block]! + sum;
      this.#squares[block] = this.#squares[block]! + squares;
      this.#counts[block] = this.#counts[block]! + at - start;
      if (this.#counts[block] === this.#pixels[block] && this.#variance(block) >= CONTRAST ** 2) {
        this.#isShown = true;
      }
    }
  }

  /**
   * The verdict on all that came.
   * @param level least difference of two display values that differ by a stored level; asked for where it matters
   */
  holds(level: () => number): boolean {
    if (this.#isShown) return true;
    const blocks = [...this.#counts.keys()].filter((block) => this.#counts[block]! > 0);
    if (blocks.length === 0) return false;
    const mean = (values: readonly number[]) => values.reduce((sum, value) => sum + value, 0) / values.length;
    const variances = blocks.map((block) => this.#variance(block));
    if (Math.max(...variances) >= CONTRAST ** 2) return true;
    const within = mean(variances);
    const left = withoutTrend(
      blocks,
      blocks.map((block) => this.#sums[block]! / this.#counts[block]!),
    );
    const between = mean(left.map((value) => value * value));
    if (between === 0 || between < COHERENCE * (between + within)) return false;
    return Math.sqrt(between + within) >= level();
  }

  #variance(block: number): number {
    const count = this.#counts[block]!;
    return Math.max(0, this.#squares[block]! / count - (this.#sums[block]! / count) ** 2);
  }
}

/** A source that is too small to hold anything, whatever its values. */
export function isTooSmall(rows: number, columns: number, workingSize: number): boolean {
  return Math.min(rows, columns) < workingSize * SMALLEST_PART;
}

function blocksOf(count: number): Uint8Array {
  return Uint8Array.from({ length: count }, (_, i) => Math.floor((i * GRID) / count));
}

/** What a least-squares quadratic surface over the blocks leaves of their values (Gram and Schmidt). */
function withoutTrend(blocks: readonly number[], values: readonly number[]): number[] {
  const dot = (a: readonly number[], b: readonly number[]) =>
    a.reduce((sum, value, i) => sum + value * b[i]!, 0);
  const without = (vector: number[], unit: readonly number[]) => {
    const along = dot(vector, unit);
    return vector.map((value, i) => value - along * unit[i]!);
  };
  const places = blocks.map((block) => ({
    y: Math.floor(block / GRID) - (GRID - 1) / 2,
    x: (block % GRID) - (GRID - 1) / 2,
  }));
  const terms = [
    places.map(() => 1),
    places.map(({ x }) => x),
    places.map(({ y }) => y),
    places.map(({ x }) => x * x),
    places.map(({ x, y }) => x * y),
    places.map(({ y }) => y * y),
  ];
  const basis: number[][] = [];
  for (const term of terms) {
    const rest = basis.reduce(without, term);
    const length = Math.sqrt(dot(rest, rest));
    // Of few blocks some terms are sums of others.
    if (length > 1e-9) basis.push(rest.map((value) => value / length));
  }
  return basis.reduce(without, [...values]);
}
