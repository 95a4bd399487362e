/**
 * Decides whether an image has any structure to score. A blank exposure, with or without noise, shading, collimation or
 * markers, shows no anatomy, so its scores would have no meaning.
 *
 * The placed image is averaged to at most 128 x 128 samples and divided into cells of 4 x 4 of them. A cell has
 * structure if its standard deviation is
 *
 * - `CONTRAST` display values (of 255) or more, or
 * - at least one stored level, and its variance is at least `COHERENCE` times half of the mean squared difference of
 *   neighbouring samples: for uncorrelated noise the two are equal.
 *
 * An image has structure if at least `SHARE` of its cells have it. The smallest share is 0.73 among 5,532 chest and knee
 * radiographs, 0.20 among mammograms with much air, 0.15 among radiographs reduced to 64 grey levels; the largest is 0.11
 * among blank images with noise, shading, JPEG artefacts, text or the edges of a collimator.
 */
import type { Box, Placement } from '../../geometry/placement.js';

/** Samples down and across that the image is averaged to, at most. */
const SIDE = 128;
/** Samples down and across of a cell. */
const CELL = 4;
const CONTRAST = 4;
const COHERENCE = 2;
const SHARE = 1 / 8;
/** Smallest side of a source, relative to the working image: of a smaller source a patch has only a few samples. */
const SMALLEST_PART = 1 / 16;

/** Whether a source is too small to be scored, whatever its values. */
export function isTooSmall(rows: number, columns: number, workingSize: number): boolean {
  return Math.min(rows, columns) < workingSize * SMALLEST_PART;
}

/** Fewest source rows, and columns, that are not too small. */
export function smallestSide(workingSize: number): number {
  return Math.ceil(workingSize * SMALLEST_PART);
}

/** Why an image holds nothing to score: too few rows or columns, one value everywhere, or noise and smooth shade only. */
export type Emptiness = 'tooSmall' | 'blank' | 'flat';

/** Display value at an index of a working image [size, size], before percentiles are applied. */
export type ValueAt = (index: number) => number;

export class ImageContent {
  /** First working row, and column, of each sample; one more at the end. */
  readonly #rowStarts: Int32Array;
  readonly #columnStarts: Int32Array;
  readonly #cells: number;
  #withStructure = 0;
  readonly #samples = new Float64Array(CELL * CELL);
  /** Rows of cells that `countAbove` has counted. */
  #rowsCounted = 0;

  /** @param level difference that one stored level makes in display values */
  constructor(
    placement: Placement,
    private readonly workingSize: number,
    private readonly level: number,
  ) {
    this.#rowStarts = startsOf(placement.top, placement.rows);
    this.#columnStarts = startsOf(placement.left, placement.columns);
    this.#cells = cellsOf(this.#rowStarts) * cellsOf(this.#columnStarts);
  }

  /** Whether enough cells have structure, whatever the other cells contain. */
  get hasEnoughStructure(): boolean {
    return this.#cells > 0 && this.#withStructure >= SHARE * this.#cells;
  }

  /** Counts structure in the rows of cells above working row `end` that were not counted yet. */
  countAbove(valueAt: ValueAt, end: number): void {
    for (; !this.hasEnoughStructure && this.#rowsCounted < cellsOf(this.#rowStarts); this.#rowsCounted++) {
      const bottom = this.#rowStarts[CELL * (this.#rowsCounted + 1)]!;
      if (bottom > end) return;
      const top = this.#rowStarts[CELL * this.#rowsCounted]!;
      this.countIn(valueAt, { top, bottom, left: 0, right: this.workingSize });
    }
  }

  /** Counts structure in the cells of a box of working pixels. Must be called once for each box. */
  countIn(valueAt: ValueAt, box: Box): void {
    this.#withStructure += this.#count(valueAt, box, SHARE * this.#cells - this.#withStructure);
  }

  /** Whether the received parts of an image have enough structure. @param boxes the parts, in working pixels */
  hasStructureIn(valueAt: ValueAt, boxes: readonly Box[]): boolean {
    if (this.hasEnoughStructure) return true;
    const cells = boxes.reduce((sum, box) => {
      const [rows, columns] = this.#cellsIn(box);
      return sum + (rows[1] - rows[0]) * (columns[1] - columns[0]);
    }, 0);
    let missing = SHARE * cells;
    for (const box of boxes) missing -= this.#count(valueAt, box, missing);
    return cells > 0 && missing <= 0;
  }

  /** Whether the received parts have one value, to a thousandth of a stored level. @param boxes as for `holds` */
  isBlank(valueAt: ValueAt, boxes: readonly Box[]): boolean {
    let low = Number.POSITIVE_INFINITY;
    let high = Number.NEGATIVE_INFINITY;
    for (const { top, bottom, left, right } of boxes) {
      for (let row = top; row < bottom; row++) {
        for (let at = row * this.workingSize + left; at < row * this.workingSize + right; at++) {
          const value = valueAt(at);
          low = Math.min(low, value);
          high = Math.max(high, value);
        }
      }
    }
    return !(high - low > this.level / 1000);
  }

  #cellsIn(box: Box): readonly [readonly [number, number], readonly [number, number]] {
    return [
      cellsWithin(this.#rowStarts, box.top, box.bottom),
      cellsWithin(this.#columnStarts, box.left, box.right),
    ];
  }

  /** Number of cells with structure in a box; the count stops at `enough`. */
  #count(valueAt: ValueAt, box: Box, enough: number): number {
    const [rows, columns] = this.#cellsIn(box);
    let count = 0;
    for (let row = rows[0]; row < rows[1]; row++) {
      for (let column = columns[0]; column < columns[1] && count < enough; column++) {
        this.#average(valueAt, row, column);
        if (this.#hasStructure()) count++;
      }
    }
    return count;
  }

  /** Computes the 4 x 4 samples of a cell: means over boxes of working pixels. */
  #average(valueAt: ValueAt, row: number, column: number): void {
    const [down, across] = [this.#rowStarts, this.#columnStarts];
    for (let i = 0; i < CELL; i++) {
      const top = down[CELL * row + i]!;
      const bottom = down[CELL * row + i + 1]!;
      for (let j = 0; j < CELL; j++) {
        const left = across[CELL * column + j]!;
        const right = across[CELL * column + j + 1]!;
        let sum = 0;
        for (let y = top; y < bottom; y++) {
          const from = y * this.workingSize;
          for (let x = left; x < right; x++) sum += valueAt(from + x);
        }
        this.#samples[CELL * i + j] = sum / ((bottom - top) * (right - left));
      }
    }
  }

  #hasStructure(): boolean {
    const samples = this.#samples;
    let sum = 0;
    let squares = 0;
    let differences = 0;
    for (let i = 0; i < samples.length; i++) {
      // Relative to the first sample: rounding errors of the squares of large values would hide small differences.
      const value = samples[i]! - samples[0]!;
      sum += value;
      squares += value * value;
      if (i % CELL < CELL - 1) differences += (samples[i]! - samples[i + 1]!) ** 2;
      if (i + CELL < samples.length) differences += (samples[i]! - samples[i + CELL]!) ** 2;
    }
    const variance = Math.max(0, squares - (sum * sum) / samples.length) / (samples.length - 1);
    if (variance >= CONTRAST ** 2) return true;
    const roughness = differences / (2 * CELL * (CELL - 1)) / 2;
    return variance >= COHERENCE * roughness && variance >= this.level ** 2;
  }
}

function startsOf(first: number, count: number): Int32Array {
  const samples = Math.min(SIDE, count);
  return Int32Array.from({ length: samples + 1 }, (_, i) => first + Math.ceil((i * count) / samples));
}

function cellsOf(starts: Int32Array): number {
  return Math.floor((starts.length - 1) / CELL);
}

/** The cells of an axis that lie in [from, end): index of the first, and of the one after the last. */
function cellsWithin(starts: Int32Array, from: number, end: number): readonly [number, number] {
  let first = 0;
  let last = cellsOf(starts);
  while (first < last && starts[CELL * first]! < from) first++;
  while (last > first && starts[CELL * last]! > end) last--;
  return [first, last];
}
