/**
 * From the descriptors of all normal fit patches to the memory bank that is served: duplicates and outliers
 * out, then thinned evenly over the patch grid (docs/explanation/salad-method.md, section 8).
 */
import { kCenterCoreset } from '../../scoring/coreset.js';
import type { MemoryBank } from '../../scoring/memory-bank.js';
import { chooseIndices } from '../../util/hash-random.js';
import { createRandom } from '../../util/random.js';

/** Rows of the own cell an outlier test compares with, at most: keeps it linear in the number of images. */
const OUTLIER_REFERENCES = 512;

/** How rows are thinned where there are more than the bank may hold. */
export type CoresetMethod = 'random' | 'kCenter';

export interface BankOptions {
  /** Most rows the bank may hold. */
  readonly bankRows: number;
  readonly coreset: CoresetMethod;
  /** Fraction of rows dropped as outliers, in [0, 1). */
  readonly outlierFraction: number;
  readonly seed: number;
  readonly signal?: AbortSignal;
}

export interface BuiltBank {
  readonly bank: MemoryBank;
  readonly candidates: number;
  readonly duplicates: number;
  readonly outliers: number;
}

/** Collects unit descriptors of fit images; grows as images come. */
export class BankCandidates {
  readonly dimension: number;
  readonly grid: number;
  readonly #rows: Float32Array[] = [];
  readonly #cells: number[] = [];
  readonly #sources: number[] = [];

  constructor(dimension: number, grid: number) {
    this.dimension = dimension;
    this.grid = grid;
  }

  get count(): number {
    return this.#rows.length;
  }

  /**
   * @param embeddings float32 [grid * grid, dimension]; only patches with `scored` are taken, and copied.
   * @param source index of the image in the manifest's training.sourceImages.
   */
  add(embeddings: Float32Array, scored: Uint8Array, source: number): void {
    for (let cell = 0; cell < scored.length; cell += 1) {
      if (!scored[cell]) continue;
      this.#rows.push(embeddings.slice(cell * this.dimension, (cell + 1) * this.dimension));
      this.#cells.push(cell);
      this.#sources.push(source);
    }
  }

  /** Those of the chosen source images; the rows are shared, not copied. */
  ofSources(chosen: (source: number) => boolean): BankCandidates {
    const subset = new BankCandidates(this.dimension, this.grid);
    this.#sources.forEach((source, index) => {
      if (!chosen(source)) return;
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

  /** Candidate rows of every cell, in the order they came. */
  byCell(): number[][] {
    const cells: number[][] = Array.from({ length: this.grid * this.grid }, () => []);
    this.#cells.forEach((cell, index) => {
      cells[cell]!.push(index);
    });
    return cells;
  }
}

function similarity(a: Float32Array, b: Float32Array): number {
  let sum = 0;
  for (let i = 0; i < a.length; i += 1) sum += a[i]! * b[i]!;
  return sum;
}

/** Rows of one cell without exact repeats (same float32 values). */
function distinctRows(candidates: BankCandidates, rows: readonly number[]): number[] {
  const seen = new Set<string>();
  return rows.filter((index) => {
    const row = candidates.row(index);
    const key = Buffer.from(row.buffer, row.byteOffset, row.byteLength).toString('latin1');
    return !seen.has(key) && seen.add(key);
  });
}

/**
 * Similarity of every row to its nearest row of the same cell from another patient. Cheaper than the full
 * leave-one-patient-out search: own cell only, K = 1, at most 512 references drawn with the seed.
 */
function nearestOfOthers(
  candidates: BankCandidates,
  rows: readonly number[],
  patients: readonly string[],
  random: () => number,
): Float32Array {
  const references = Array.from(chooseIndices(rows.length, OUTLIER_REFERENCES, random), (i) => rows[i]!);
  return Float32Array.from(rows, (index) => {
    const row = candidates.row(index);
    const patient = patients[candidates.source(index)];
    let best = Number.NEGATIVE_INFINITY;
    for (const other of references) {
      if (patients[candidates.source(other)] === patient) continue;
      best = Math.max(best, similarity(row, candidates.row(other)));
    }
    return best;
  });
}

/** Drops the rows least like anything another patient has at the same place; a single patient drops nothing. */
function withoutOutliers(
  candidates: BankCandidates,
  cells: readonly number[][],
  patients: readonly string[],
  options: BankOptions,
): number[][] {
  const random = createRandom(options.seed);
  const judged = cells.flatMap((rows) => {
    const nearest = nearestOfOthers(candidates, rows, patients, random);
    return rows.map((index, i) => ({ index, nearest: nearest[i]! }));
  });
  const comparable = judged.filter((each) => Number.isFinite(each.nearest));
  comparable.sort((a, b) => a.nearest - b.nearest || a.index - b.index);
  const dropped = Math.floor(options.outlierFraction * comparable.length);
  const outliers = new Set(comparable.slice(0, dropped).map((each) => each.index));
  return cells.map((rows) => rows.filter((index) => !outliers.has(index)));
}

/** Greedy k-center within a cell, in the order the rows came. */
async function kCenter(
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

/** Rows each cell may keep so that all together stay within the limit; small cells leave room to others. */
function rowsPerCell(cells: readonly number[][], limit: number): number {
  let low = 1;
  let high = Math.max(1, ...cells.map((rows) => rows.length));
  const total = (each: number): number => cells.reduce((sum, rows) => sum + Math.min(rows.length, each), 0);
  while (low < high) {
    const middle = Math.ceil((low + high) / 2);
    if (total(middle) <= limit) low = middle;
    else high = middle - 1;
  }
  return low;
}

/**
 * @param patients patient of every source image, by index.
 * @returns the bank in cell order; rows as given (the caller rounds them to what is stored).
 * @throws SaladError CANCELLED when the signal aborts.
 */
export async function buildBank(
  candidates: BankCandidates,
  patients: readonly string[],
  options: BankOptions,
): Promise<BuiltBank> {
  const distinct = candidates.byCell().map((rows) => distinctRows(candidates, rows));
  const distinctCount = distinct.reduce((sum, rows) => sum + rows.length, 0);
  const kept = withoutOutliers(candidates, distinct, patients, options);
  const keptCount = kept.reduce((sum, rows) => sum + rows.length, 0);
  const perCell = rowsPerCell(kept, options.bankRows);
  const random = createRandom(options.seed + 1);
  const chosen: number[][] = [];
  for (const rows of kept) {
    chosen.push(
      options.coreset === 'kCenter'
        ? await kCenter(candidates, rows, perCell, options.signal)
        : Array.from(chooseIndices(rows.length, perCell, random), (i) => rows[i]!),
    );
  }
  const rows = chosen.reduce((sum, each) => sum + each.length, 0);
  const { dimension, grid } = candidates;
  const bank = {
    rows,
    dimension,
    prototypes: new Float32Array(rows * dimension),
    positions: new Int32Array(rows * 2),
    sources: new Int32Array(rows),
  };
  let at = 0;
  chosen.forEach((cellRows, cell) => {
    for (const index of cellRows) {
      bank.prototypes.set(candidates.row(index), at * dimension);
      bank.positions[2 * at] = Math.floor(cell / grid);
      bank.positions[2 * at + 1] = cell % grid;
      bank.sources[at] = candidates.source(index);
      at += 1;
    }
  });
  return {
    bank,
    candidates: candidates.count,
    duplicates: candidates.count - distinctCount,
    outliers: distinctCount - keptCount,
  };
}
