/** Chooses the search method for the nearest prototypes of a patch. The plan is the same for every engine. */

import type { Geometry } from '../geometry/geometry.js';
import type { ScoringSpec } from '../geometry/specifications.js';
import { candidatesPerCell, type MemoryBank } from './memory-bank.js';

export interface SearchLimits {
  /** The search is exact where a patch is compared with at most this many prototypes. */
  readonly exactRowsMax: number;
  /** Most bytes of similarities (float32 [patches, rows]) in one chunk of an exact search. */
  readonly similarityBytesMax: number;
  /** The search window is part of the engine's graph where its table, u8 [cells, rows], has at most this many bytes. */
  readonly windowTableBytesMax: number;
  /**
   * The search window is part of the engine's graph, which compares a patch with every row, where the bank has at most
   * this many times the rows of a window.
   */
  readonly graphRowsRatioMax: number;
  /** Tiles of the largest batch; decides the chunk size of an exact search. */
  readonly batchTilesMax: number;
}

export const SEARCH_LIMITS: SearchLimits = {
  exactRowsMax: 100_000,
  similarityBytesMax: 16 * 1024 * 1024,
  windowTableBytesMax: 128 * 1024 * 1024,
  graphRowsRatioMax: Number.POSITIVE_INFINITY,
  batchTilesMax: 32,
};

export type SearchPlan =
  /** Exact, in the engine's graph with the encoder, `chunkRows` rows at a time. */
  | { readonly kind: 'exact'; readonly chunkRows: number }
  /** Exact, outside the engine's graph, over the rows in the patch's search window only. */
  | { readonly kind: 'window' }
  /** Candidates of an approximate index, ranked by exact distance. */
  | { readonly kind: 'index'; readonly candidates: number };

/** What a plan depends on. */
export interface SearchProblem {
  readonly bank: MemoryBank;
  readonly scoring: Pick<ScoringSpec, 'neighbourCount' | 'searchRadius'>;
  readonly geometry: Pick<Geometry, 'patchGrid' | 'patchesPerTile'>;
}

/** Number of candidates to request from an index: more than K, because the index ranks rounded vectors. */
export function candidatesFor(neighbourCount: number): number {
  return Math.max(16, 2 * neighbourCount);
}

/** The plan of an exact search in the engine's graph, with chunks as large as `similarityBytesMax` allows. */
export function exactPlan({ geometry }: SearchProblem, limits: SearchLimits): SearchPlan & { kind: 'exact' } {
  const patches = limits.batchTilesMax * geometry.patchesPerTile;
  const bytesPerRow = patches * Float32Array.BYTES_PER_ELEMENT;
  return { kind: 'exact', chunkRows: Math.max(1, Math.floor(limits.similarityBytesMax / bytesPerRow)) };
}

/**
 * Chooses the plan by the number of prototypes a patch is compared with: a bank of any size is searched exactly as long
 * as no cell's search window holds more than `exactRowsMax` prototypes.
 */
export function searchPlan(problem: SearchProblem, limits: SearchLimits = SEARCH_LIMITS): SearchPlan {
  const { bank, scoring, geometry } = problem;
  const { searchRadius, neighbourCount } = scoring;
  const rowsSearchedMax =
    searchRadius === null
      ? bank.rows
      : candidatesPerCell(bank, geometry.patchGrid, searchRadius).reduce((a, b) => Math.max(a, b), 0);
  if (rowsSearchedMax > limits.exactRowsMax) {
    return { kind: 'index', candidates: candidatesFor(neighbourCount) };
  }
  if (searchRadius === null) return exactPlan(problem, limits);
  const tableBytes = geometry.patchGrid ** 2 * bank.rows;
  const fitsGraph =
    bank.rows <= limits.exactRowsMax &&
    tableBytes <= limits.windowTableBytesMax &&
    bank.rows <= limits.graphRowsRatioMax * rowsSearchedMax;
  return fitsGraph ? exactPlan(problem, limits) : { kind: 'window' };
}

/** Divides rows into chunks of nearly equal size, at most `chunkRows` rows each, in row order. */
export function chunksOf(rows: number, chunkRows: number): readonly { from: number; to: number }[] {
  const count = Math.ceil(rows / Math.min(rows, chunkRows));
  const edge = (index: number): number => Math.floor((index * rows) / count);
  return Array.from({ length: count }, (_, index) => ({ from: edge(index), to: edge(index + 1) }));
}
