/** Greedy k-center selection of memory-bank rows (docs/explanation/salad-method.md, section 8); it keeps outlying rows. */
import { setImmediate } from 'node:timers/promises';
import { SaladError } from '../errors/index.js';
import { squaredDistance } from './knn.js';

/** Milliseconds of work between two checks of the abort signal. */
const ABORT_CHECK_MS = 50;

export interface CoresetOptions {
  /** Rows to select at most. */
  readonly size: number;
  readonly signal?: AbortSignal;
}

export interface Coreset {
  /** Rows in the order of their selection: row 0 first. */
  readonly indices: Int32Array;
  /**
   * Cover radius as chord distance after 1, 2, ... selected rows: every row is at most this far from a selected row.
   * Never increases.
   */
  readonly radii: Float64Array;
  /** For every selected row, the number of rows it is the nearest to (ties to the row selected first). */
  readonly multiplicities: Int32Array;
}

/**
 * Adds `row` to the selected rows and updates, for every row, the distance to its nearest selected row.
 * @param nearest squared distance per row, updated in place
 * @param owner rank of the nearest selected row per row, updated in place
 * @returns the row that is now farthest from all selected rows, ties to the lowest index
 */
function selectRow(
  rows: Float32Array,
  dimension: number,
  row: number,
  rank: number,
  nearest: Float64Array,
  owner: Int32Array,
): number {
  let farthest = 0;
  for (let other = 0; other < nearest.length; other++) {
    const squared = squaredDistance(rows, row * dimension, rows, other * dimension, dimension);
    if (squared < nearest[other]!) {
      nearest[other] = squared;
      owner[other] = rank;
    }
    if (nearest[other]! > nearest[farthest]!) farthest = other;
  }
  return farthest;
}

/**
 * Greedy k-center: starts at row 0, then repeatedly selects the row farthest from the selected rows, ties to the lowest
 * index. Uses chord distance, which orders unit vectors as the angle does. Stops early when every row equals a selected
 * one. Time: rows * size * dimension.
 * @param rows float32 [n, dimension]
 * @throws SaladError CANCELLED when the signal aborts.
 */
export async function kCenterCoreset(
  rows: Float32Array,
  dimension: number,
  options: CoresetOptions,
): Promise<Coreset> {
  const count = rows.length / dimension;
  const size = Math.min(options.size, count);
  const nearest = new Float64Array(count).fill(Number.POSITIVE_INFINITY);
  const owner = new Int32Array(count);
  const indices: number[] = [];
  const radii: number[] = [];
  let next = 0;
  let lastCheck = performance.now();
  while (indices.length < size) {
    const farthest = selectRow(rows, dimension, next, indices.length, nearest, owner);
    indices.push(next);
    radii.push(Math.sqrt(nearest[farthest]!));
    next = farthest;
    if (nearest[farthest] === 0) break;
    if (performance.now() - lastCheck > ABORT_CHECK_MS) {
      await setImmediate();
      if (options.signal?.aborted) throw new SaladError('CANCELLED', 'coreset selection was cancelled');
      lastCheck = performance.now();
    }
  }
  const multiplicities = new Int32Array(indices.length);
  for (const rank of owner) multiplicities[rank] = multiplicities[rank]! + 1;
  return { indices: Int32Array.from(indices), radii: Float64Array.from(radii), multiplicities };
}
