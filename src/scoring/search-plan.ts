/** Decides how the nearest prototypes of a patch are found; the plan is the same for every engine. */

import type { Geometry } from '../geometry/geometry.js';
import type { ScoringSpec } from '../geometry/specifications.js';
import { candidatesPerCell, type MemoryBank } from './memory-bank.js';

export interface SearchLimits {
  /** The search is exact up to this many prototypes for one patch. */
  readonly exactRowsMax: number;
  /** Bytes of similarities (float32 [patches, rows]) that one chunk of an exact search may hold. */
  readonly similarityBytesMax: number;
  /** Bytes of the table cell x prototype (u8) up to which a search window is part of the engine's graph. */
  readonly windowTableBytesMax: number;
  /** Tiles of the largest batch. */
  readonly batchTilesMax: number;
}

export const SEARCH_LIMITS: SearchLimits = {
  exactRowsMax: 100_000,
  similarityBytesMax: 16 * 1024 * 1024,
  windowTableBytesMax: 128 * 1024 * 1024,
  batchTilesMax: 32,
};

export type SearchPlan =
  /** One graph with the encoder, over `chunkRows` rows at a time. */
  | { readonly kind: 'exact'; readonly chunkRows: number }
  /** Exact, over the rows in the patch's window only, outside the engine's graph. */
  | { readonly kind: 'window' }
  /** Candidates of an approximate index, ranked by exact distance. */
  | { readonly kind: 'index'; readonly candidates: number };

/** The bank, scoring and geometry that a plan is made for. */
export interface SearchProblem {
  readonly bank: MemoryBank;
  readonly scoring: Pick<ScoringSpec, 'neighbourCount' | 'searchRadius'>;
  readonly geometry: Pick<Geometry, 'patchGrid' | 'patchesPerTile'>;
}

/** Candidates an index is asked for: more than K, because it ranks them by rounded vectors. */
export function candidatesFor(neighbourCount: number): number {
  return Math.max(16, 2 * neighbourCount);
}

/** Exact in the engine's graph: chunks as large as the bound on the similarities allows. */
export function exactPlan({ geometry }: SearchProblem, limits: SearchLimits): SearchPlan & { kind: 'exact' } {
  const patches = limits.batchTilesMax * geometry.patchesPerTile;
  const bytesPerRow = patches * Float32Array.BYTES_PER_ELEMENT;
  return { kind: 'exact', chunkRows: Math.max(1, Math.floor(limits.similarityBytesMax / bytesPerRow)) };
}

/**
 * The plan depends on how many prototypes a patch is compared with: a bank of any size is searched exactly while the
 * window of no cell holds more than `exactRowsMax`.
 */
export function searchPlan(problem: SearchProblem, limits: SearchLimits = SEARCH_LIMITS): SearchPlan {
  const { bank, scoring, geometry } = problem;
  const { searchRadius, neighbourCount } = scoring;
  const searched =
    searchRadius === null
      ? bank.rows
      : candidatesPerCell(bank, geometry.patchGrid, searchRadius).reduce((a, b) => Math.max(a, b), 0);
  if (searched > limits.exactRowsMax) return { kind: 'index', candidates: candidatesFor(neighbourCount) };
  if (searchRadius === null) return exactPlan(problem, limits);
  const tableBytes = geometry.patchGrid ** 2 * bank.rows;
  const inGraph = bank.rows <= limits.exactRowsMax && tableBytes <= limits.windowTableBytesMax;
  return inGraph ? exactPlan(problem, limits) : { kind: 'window' };
}

/** Even chunks of at most `chunkRows` rows, in row order. */
export function chunksOf(rows: number, chunkRows: number): readonly { from: number; to: number }[] {
  const count = Math.ceil(rows / Math.min(rows, chunkRows));
  const edge = (index: number): number => Math.floor((index * rows) / count);
  return Array.from({ length: count }, (_, index) => ({ from: edge(index), to: edge(index + 1) }));
}
