/**
 * Builds the memory bank from the descriptors of all fit patches: drops duplicates and outliers, then thins the rest
 * evenly over the patch grid (docs/explanation/salad-method.md, section 8).
 */
import { columnOf, rowOf } from '../../geometry/cells.js';
import { kCenterCoreset } from '../../scoring/coreset.js';
import type { MemoryBank } from '../../scoring/memory-bank.js';
import { chooseBalanced, chooseIndices } from '../../util/hash-random.js';
import { createRandom } from '../../util/random.js';

/** Most rows of a cell that a row is compared with in the outlier test; keeps the test linear in the number of images. */
const OUTLIER_REFERENCES_MAX = 512;

/** How rows are thinned where there are more than the bank may hold. */
export type CoresetMethod = 'random' | 'kCenter';

export interface BankOptions {
  /** Most rows of the bank. */
  readonly bankRows: number;
  readonly coreset: CoresetMethod;
  /** Fraction of rows dropped as outliers, in [0, 1). */
  readonly outlierFraction: number;
  readonly seed: number;
  /** View of every source image: random thinning keeps as equal numbers of each view as there are. Absent: one view. */
  readonly views?: readonly string[];
  readonly signal?: AbortSignal;
}

export interface BuiltBank {
  readonly bank: MemoryBank;
  /** Number of patches that the bank was built from. */
  readonly candidates: number;
  /** Number of candidates dropped as duplicates, and as outliers. */
  readonly duplicates: number;
  readonly outliers: number;
}

/** Collects the unit descriptors of fit images, image by image. */
export class BankCandidates {
  readonly dimension: number;
  readonly patchGrid: number;
  readonly #rows: Float32Array[] = [];
  readonly #cells: number[] = [];
  readonly #sources: number[] = [];

  constructor(dimension: number, grid: number) {
    this.dimension = dimension;
    this.patchGrid = grid;
  }

  get count(): number {
    return this.#rows.length;
  }

  /**
   * Adds copies of an image's scored patches.
   * @param embeddings float32 [patchGrid squared, dimension]
   * @param scored uint8 [patchGrid squared]: 1 where the patch was scored
   * @param source index of the image in the manifest's training.sourceImages
   */
  add(embeddings: Float32Array, scored: Uint8Array, source: number): void {
    // One copy: hundreds of thousands of small arrays would take more memory than their values.
    const copy = embeddings.slice();
    for (let cell = 0; cell < scored.length; cell += 1) {
      if (!scored[cell]) continue;
      this.#rows.push(copy.subarray(cell * this.dimension, (cell + 1) * this.dimension));
      this.#cells.push(cell);
      this.#sources.push(source);
    }
  }

  /** The candidates of some source images; rows are shared, not copied. */
  filterSources(isIncluded: (source: number) => boolean): BankCandidates {
    const subset = new BankCandidates(this.dimension, this.patchGrid);
    this.#sources.forEach((source, index) => {
      if (!isIncluded(source)) return;
      subset.#rows.push(this.#rows[index]!);
      subset.#cells.push(this.#cells[index]!);
      subset.#sources.push(source);
    });
    return subset;
  }

  row(index: number): Float32Array {
    return this.#rows[index]!;
  }

  source(index: number): number {
    return this.#sources[index]!;
  }

  /** Indices of the candidates of every cell, in the order of their addition. */
  rowsByCell(): number[][] {
    const cells: number[][] = Array.from({ length: this.patchGrid * this.patchGrid }, () => []);
    this.#cells.forEach((cell, index) => {
      cells[cell]!.push(index);
    });
    return cells;
  }
}

function dotProduct(a: Float32Array, b: Float32Array): number {
  let sum = 0;
  for (let i = 0; i < a.length; i += 1) sum += a[i]! * b[i]!;
  return sum;
}

/** Drops rows of one cell that repeat another one exactly (same float32 values). */
function dropDuplicates(candidates: BankCandidates, rows: readonly number[]): number[] {
  const seen = new Set<string>();
  return rows.filter((index) => {
    const row = candidates.row(index);
    const key = Buffer.from(row.buffer, row.byteOffset, row.byteLength).toString('latin1');
    return !seen.has(key) && seen.add(key);
  });
}

/**
 * Similarity of every row of a cell to its most similar row of another patient. Faster than a full
 * leave-one-patient-out search: own cell only, K = 1, at most OUTLIER_REFERENCES_MAX randomly chosen rows.
 * @returns -Infinity for rows without a row of another patient
 */
function similarityToOtherPatients(
  candidates: BankCandidates,
  rows: readonly number[],
  patients: readonly string[],
  random: () => number,
): Float32Array {
  const references = Array.from(chooseIndices(rows.length, OUTLIER_REFERENCES_MAX, random), (i) => rows[i]!);
  return Float32Array.from(rows, (index) => {
    const row = candidates.row(index);
    const patient = patients[candidates.source(index)];
    let best = Number.NEGATIVE_INFINITY;
    for (const other of references) {
      if (patients[candidates.source(other)] === patient) continue;
      best = Math.max(best, dotProduct(row, candidates.row(other)));
    }
    return best;
  });
}

/** Drops the rows least similar to those of other patients in the same cell. Drops none where there is one patient. */
function dropOutliers(
  candidates: BankCandidates,
  cells: readonly number[][],
  patients: readonly string[],
  options: BankOptions,
): number[][] {
  if (options.outlierFraction === 0) return cells.map((rows) => [...rows]);
  const random = createRandom(options.seed);
  const compared = cells.flatMap((rows) => {
    const similarities = similarityToOtherPatients(candidates, rows, patients, random);
    return rows.map((index, i) => ({ index, similarity: similarities[i]! }));
  });
  const comparable = compared.filter(({ similarity }) => Number.isFinite(similarity));
  comparable.sort((a, b) => a.similarity - b.similarity || a.index - b.index);
  const outlierCount = Math.floor(options.outlierFraction * comparable.length);
  const outliers = new Set(comparable.slice(0, outlierCount).map(({ index }) => index));
  return cells.map((rows) => rows.filter((index) => !outliers.has(index)));
}

/** Selects rows of a cell by greedy k-center and returns them in their original order. */
async function selectByKCenter(
  candidates: BankCandidates,
  rows: readonly number[],
  size: number,
  signal: AbortSignal | undefined,
): Promise<number[]> {
  if (rows.length <= size) return [...rows];
  const { dimension } = candidates;
  const values = new Float32Array(rows.length * dimension);
  rows.forEach((index, i) => {
    values.set(candidates.row(index), i * dimension);
  });
  const { indices } = await kCenterCoreset(values, dimension, signal ? { size, signal } : { size });
  return Array.from(indices.sort(), (i) => rows[i]!);
}

/** The largest number of rows per cell with which all cells together stay within the limit. */
function rowLimitPerCell(cells: readonly number[][], limit: number): number {
  let low = 1;
  let high = Math.max(1, ...cells.map((rows) => rows.length));
  const total = (perCell: number): number =>
    cells.reduce((sum, rows) => sum + Math.min(rows.length, perCell), 0);
  while (low < high) {
    const middle = Math.ceil((low + high) / 2);
    if (total(middle) <= limit) low = middle;
    else high = middle - 1;
  }
  return low;
}

/** Copies candidates to a memory bank. @param rowsByCell indices of the candidates of every cell */
function assembleBank(candidates: BankCandidates, rowsByCell: readonly number[][]): MemoryBank {
  const { dimension, patchGrid } = candidates;
  const rows = countRows(rowsByCell);
  const bank = {
    rows,
    dimension,
    prototypes: new Float32Array(rows * dimension),
    positions: new Int32Array(rows * 2),
    sources: new Int32Array(rows),
  };
  let at = 0;
  rowsByCell.forEach((cellRows, cell) => {
    for (const index of cellRows) {
      bank.prototypes.set(candidates.row(index), at * dimension);
      bank.positions[2 * at] = rowOf(cell, patchGrid);
      bank.positions[2 * at + 1] = columnOf(cell, patchGrid);
      bank.sources[at] = candidates.source(index);
      at += 1;
    }
  });
  return bank;
}

function countRows(rowsByCell: readonly number[][]): number {
  return rowsByCell.reduce((sum, rows) => sum + rows.length, 0);
}

/**
 * Builds the bank from the candidates.
 * @param patients patient of every source image, by index
 * @returns the bank in cell order; rows are not rounded, the caller rounds them to the storage precision
 * @throws SaladError CANCELLED when the signal aborts.
 */
export async function buildBank(
  candidates: BankCandidates,
  patients: readonly string[],
  options: BankOptions,
): Promise<BuiltBank> {
  const distinct = candidates.rowsByCell().map((rows) => dropDuplicates(candidates, rows));
  const kept = dropOutliers(candidates, distinct, patients, options);
  const limitPerCell = rowLimitPerCell(kept, options.bankRows);
  const random = createRandom(options.seed + 1);
  const selected: number[][] = [];
  for (const rows of kept) {
    selected.push(
      options.coreset === 'kCenter'
        ? await selectByKCenter(candidates, rows, limitPerCell, options.signal)
        : chooseBalanced(
            rows.map((index) => options.views?.[candidates.source(index)] ?? ''),
            limitPerCell,
            random,
          ).map((i) => rows[i]!),
    );
  }
  const [distinctCount, keptCount] = [countRows(distinct), countRows(kept)];
  return {
    bank: assembleBank(candidates, selected),
    candidates: candidates.count,
    duplicates: candidates.count - distinctCount,
    outliers: distinctCount - keptCount,
  };
}
