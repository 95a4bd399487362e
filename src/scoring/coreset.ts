/** Thinning of a memory bank: greedy k-center, which keeps outlying rows, and random thinning, which keeps density. */
import { setImmediate } from 'node:timers/promises';
import { SaladError } from '../errors/index.js';
import { createRandom, shuffledIndices } from '../util/random.js';
import { squaredDistance } from './knn.js';

/** Milliseconds of work between two checks of the abort signal. */
const SLICE_MS = 50;

export interface CoresetOptions {
  /** Rows to keep at most. */
  readonly size: number;
  readonly signal?: AbortSignal;
  readonly onProgress?: (selected: number, size: number) => void;
}

export interface Coreset {
  /** Rows in the order they were chosen: row 0 first. */
  readonly indices: Int32Array;
  /** Cover radius as chord after 1, 2, ... rows: no row is farther from the chosen ones. Never increases. */
  readonly radii: Float64Array;
  /** For every chosen row, how many rows it is the nearest to (ties to the one chosen first). */
  readonly multiplicities: Int32Array;
}

/** Rows to keep: a fraction of all, at least one, at most `cap`. */
export function coresetSize(rows: number, fraction: number, cap: number): number {
  return Math.min(rows, cap, Math.max(1, Math.round(rows * fraction)));
}

/** Adds `row` to the chosen rows; returns the row that is then farthest from all chosen ones. */
function claim(
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
 * Greedy k-center: start at row 0, then always the row farthest from those chosen, ties to the lowest index.
 * Chord distance, which orders unit vectors like the angle. Stops early when every row is covered exactly.
 * Time rows * size * dimension.
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
  let sliceStart = performance.now();
  while (indices.length < size) {
    const farthest = claim(rows, dimension, next, indices.length, nearest, owner);
    indices.push(next);
    radii.push(Math.sqrt(nearest[farthest]!));
    next = farthest;
    if (nearest[farthest] === 0) break;
    if (performance.now() - sliceStart > SLICE_MS) {
      options.onProgress?.(indices.length, size);
      await setImmediate();
      if (options.signal?.aborted) throw new SaladError('CANCELLED', 'coreset selection was cancelled');
      sliceStart = performance.now();
    }
  }
  const multiplicities = new Int32Array(indices.length);
  for (const rank of owner) multiplicities[rank] = multiplicities[rank]! + 1;
  return { indices: Int32Array.from(indices), radii: Float64Array.from(radii), multiplicities };
}

/** `size` of `count` rows drawn without replacement, ascending; the same for the same seed. */
export function randomThinning(count: number, size: number, seed: number): Int32Array {
  return shuffledIndices(count, createRandom(seed)).slice(0, size).sort();
}
