/** Prepares the search of a model, the same for every engine: in the engine's graph, or after it in this program. */
import { exactPlan, SEARCH_LIMITS, type SearchPlan, searchPlan } from '../../scoring/search-plan.js';
import { patchCells } from '../batch.js';
import type { EngineModelSource, PatchBatch, TileBatch } from '../engine.js';
import { scorePatches } from '../patch-distances.js';
import { openPrototypeIndex, type PrototypeIndex } from './prototype-index.js';
import { WindowRows } from './window-rows.js';

/** Candidates requested from an index where a search window excludes some of them. */
const WINDOW_CANDIDATES = 256;

export interface PreparedSearch {
  /** Human-readable: "exact", "exact (search window)", "index (usearch, recall 0.995)"; empty without a bank. */
  readonly description: string;
  /** What the engine builds its graph from; without `search` where the search is done here. */
  readonly graph: EngineModelSource;
  /** Bank rows that the graph compares at a time. */
  readonly chunkRows: number;
  /**
   * Writes neighbours, distances and scores of tiles whose embeddings are already written.
   * @param indices bank rows [patches, K] found by the graph, where the graph includes the search
   */
  score(tiles: TileBatch, indices: ArrayLike<number | bigint> | undefined, patches: PatchBatch): void;
}

type Search = NonNullable<EngineModelSource['search']>;

/** Builds or opens what the plan requires. Where no index can serve, the search is exact and `description` says why. */
export async function prepareSearch(source: EngineModelSource): Promise<PreparedSearch> {
  const { search, ...encoder } = source;
  if (search === undefined) {
    return { description: '', graph: source, chunkRows: Number.POSITIVE_INFINITY, score() {} };
  }
  const limits = { ...SEARCH_LIMITS, ...search.options };
  const problem = { ...search, geometry: source.geometry };
  const plan = searchPlan(problem, limits);
  if (plan.kind === 'exact') return searchInGraph(source, search, plan, 'exact');
  const { bank, scoring } = search;
  const window =
    scoring.searchRadius === null ? undefined : new WindowRows(bank, source.geometry, scoring.searchRadius);
  let noIndexReason = '';
  if (plan.kind === 'index') {
    const candidates = window === undefined ? plan.candidates : Math.max(plan.candidates, WINDOW_CANDIDATES);
    const index = await openPrototypeIndex(bank, {
      directory: search.options?.indexDirectory,
      neighbourCount: scoring.neighbourCount,
      candidates: Math.min(candidates, bank.rows),
    });
    if (!('reason' in index)) {
      return {
        description: `index (usearch, recall ${index.recall.toFixed(3)})`,
        graph: encoder,
        chunkRows: Number.POSITIVE_INFINITY,
        score: (tiles, _indices, patches) => scoreByIndex(source, search, index, window, tiles, patches),
      };
    }
    noIndexReason = `; ${index.reason}`;
    if (window === undefined) {
      return searchInGraph(source, search, exactPlan(problem, limits), `exact (${index.reason})`);
    }
  }
  const windowRows = window ?? new WindowRows(bank, source.geometry, source.geometry.patchGrid);
  return {
    description: `exact (search window${noIndexReason})`,
    graph: encoder,
    chunkRows: Number.POSITIVE_INFINITY,
    score: (tiles, _indices, patches) => scoreByWindow(source, search, windowRows, tiles, patches),
  };
}

function searchInGraph(
  source: EngineModelSource,
  search: Search,
  { chunkRows }: SearchPlan & { kind: 'exact' },
  description: string,
): PreparedSearch {
  const { patchesPerTile } = source.geometry;
  return {
    description,
    graph: source,
    chunkRows,
    score: (tiles, indices, patches) => scorePatches(search, indices!, tiles.count * patchesPerTile, patches),
  };
}

function scoreByWindow(
  source: EngineModelSource,
  search: Search,
  windowRows: WindowRows,
  tiles: TileBatch,
  patches: PatchBatch,
): void {
  const { bank, scoring } = search;
  const k = scoring.neighbourCount;
  const cells = patchCells(source, tiles);
  const rows = new Int32Array(cells.length * k);
  cells.forEach((cell, patch) => {
    windowRows.nearest(patches.embeddings, patch * bank.dimension, cell, k, rows, patch * k);
  });
  scorePatches(search, rows, cells.length, patches);
}

/**
 * The index searches the whole bank. If at least K of its candidates lie in the window, the nearest of these are the
 * nearest of the window; otherwise the window is searched exactly.
 */
function scoreByIndex(
  source: EngineModelSource,
  search: Search,
  index: PrototypeIndex,
  window: WindowRows | undefined,
  tiles: TileBatch,
  patches: PatchBatch,
): void {
  const { bank, scoring } = search;
  const k = scoring.neighbourCount;
  const cells = patchCells(source, tiles);
  // A copy of the shared slot: native libraries refuse views of shared memory.
  const queries = patches.embeddings.slice(0, cells.length * bank.dimension);
  const rows = index.search(queries, cells.length);
  const candidates = rows.length / cells.length;
  if (window !== undefined) {
    cells.forEach((cell, patch) => {
      const patchRows = rows.subarray(patch * candidates, (patch + 1) * candidates);
      const inside = patchRows.filter((row) => row >= 0 && window.isInside(row, cell));
      patchRows.fill(-1);
      if (inside.length >= k) patchRows.set(inside);
      else window.nearest(queries, patch * bank.dimension, cell, k, rows, patch * candidates);
    });
  }
  scorePatches(search, rows, cells.length, patches, candidates);
}
