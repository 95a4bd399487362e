/** The search a model is loaded with: in the engine's graph, or behind it. The same for every engine. */
import { exactPlan, SEARCH_LIMITS, type SearchPlan, searchPlan } from '../../scoring/search-plan.js';
import { patchCells } from '../batch.js';
import type { EngineModelSource, PatchBatch, TileBatch } from '../engine.js';
import { finishPatches } from '../patch-distances.js';
import { openPrototypeIndex, type PrototypeIndex } from './prototype-index.js';
import { WindowRows } from './window-rows.js';

/** Candidates an index is asked for where a search window takes only some of them. */
const WINDOW_CANDIDATES = 256;

export interface PreparedSearch {
  /** For people: "exact", "exact (search window)", "index (usearch, recall 0.995)"; empty without a bank. */
  readonly description: string;
  /** What the engine builds its graph from: without `search` where that is done here. */
  readonly graph: EngineModelSource;
  /** Bank rows the graph compares with at a time. */
  readonly chunkRows: number;
  /**
   * Neighbours, distances and scores of tiles whose embeddings are written.
   * @param indices bank rows [patches, K] from the graph, where it has the search.
   */
  finish(tiles: TileBatch, indices: ArrayLike<number | bigint> | undefined, patches: PatchBatch): void;
}

type Search = NonNullable<EngineModelSource['search']>;

/** Builds or opens what the plan asks for; where there can be no index, the search is exact and says why. */
export async function prepareSearch(source: EngineModelSource): Promise<PreparedSearch> {
  const { search, ...encoder } = source;
  if (search === undefined) {
    return { description: '', graph: source, chunkRows: Number.POSITIVE_INFINITY, finish() {} };
  }
  const limits = { ...SEARCH_LIMITS, ...search.options };
  const problem = { ...search, geometry: source.geometry };
  const plan = searchPlan(problem, limits);
  if (plan.kind === 'exact') return inGraph(source, search, plan, 'exact');
  const { bank, scoring } = search;
  const window =
    scoring.searchRadius === null ? undefined : new WindowRows(bank, source.geometry, scoring.searchRadius);
  let why = '';
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
        finish: (tiles, _indices, patches) => finishFromIndex(source, search, index, window, tiles, patches),
      };
    }
    why = `; ${index.reason}`;
    if (window === undefined) {
      return inGraph(source, search, exactPlan(problem, limits), `exact (${index.reason})`);
    }
  }
  const rows = window ?? new WindowRows(bank, source.geometry, source.geometry.patchGrid);
  return {
    description: `exact (search window${why})`,
    graph: encoder,
    chunkRows: Number.POSITIVE_INFINITY,
    finish: (tiles, _indices, patches) => finishFromWindow(source, search, rows, tiles, patches),
  };
}

function inGraph(
  source: EngineModelSource,
  search: Search,
  { chunkRows }: SearchPlan & { kind: 'exact' },
  description: string,
): PreparedSearch {
  const perTile = source.geometry.patchesPerTile;
  return {
    description,
    graph: source,
    chunkRows,
    finish: (tiles, indices, patches) => finishPatches(search, indices!, tiles.count * perTile, patches),
  };
}

function finishFromWindow(
  source: EngineModelSource,
  search: Search,
  rows: WindowRows,
  tiles: TileBatch,
  patches: PatchBatch,
): void {
  const { bank, scoring } = search;
  const k = scoring.neighbourCount;
  const cells = patchCells(source, tiles);
  const found = new Int32Array(cells.length * k);
  cells.forEach((cell, patch) => {
    rows.nearest(patches.embeddings, patch * bank.dimension, cell, k, found, patch * k);
  });
  finishPatches(search, found, cells.length, patches);
}

/**
 * The best of a whole bank that lie in the window are the best of the window, if enough of them do; where too
 * few do, the window is searched exactly.
 */
function finishFromIndex(
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
  // A copy out of the shared slot: native libraries refuse views over shared memory.
  const queries = patches.embeddings.slice(0, cells.length * bank.dimension);
  const found = index.search(queries, cells.length);
  const width = found.length / cells.length;
  if (window !== undefined) {
    cells.forEach((cell, patch) => {
      const own = found.subarray(patch * width, (patch + 1) * width);
      const inside = own.filter((row) => row >= 0 && window.isInside(row, cell));
      own.fill(-1);
      if (inside.length >= k) own.set(inside);
      else window.nearest(queries, patch * bank.dimension, cell, k, found, patch * width);
    });
  }
  finishPatches(search, found, cells.length, patches, width);
}
