/**
 * Exact search outside the encoder's graph: an engine multiplies embeddings with parts of the bank, and the K nearest
 * rows are chosen here.
 */
import { tileIndexAt } from '../../geometry/tile-index.js';
import { SEARCH_LIMITS } from '../../scoring/search-plan.js';
import { subBatchesOf } from '../batch.js';
import type { TileBatch } from '../engine.js';
import { NearestList } from './nearest-list.js';
import {
  type PartGraph,
  type PartPlan,
  type PartRange,
  patchesIn,
  planParts,
  type SearchSource,
  type TilePlan,
} from './part-plan.js';

/** Share of `similarityBytesMax` that the similarities of one tile may take; this search is not used above it. */
const TILE_SHARE_MAX = 1 / 4;
/** Share of `similarityBytesMax` that the similarities of one run may take: the size of a core's own cache. */
const RUN_SHARE_MAX = 1 / 16;

/** The similarities of a run, valid until the next run. */
export interface Candidates {
  /** Offers the rows of `range`, or at least the K nearest of them. @param tile index in the run */
  offer(nearest: NearestList, tile: number, range: PartRange): void;
}

/** One graph in an engine. */
export interface PartNetwork {
  /** @param embeddings float32 [tiles, P, D], in shared memory only where the engine reads that */
  run(tiles: number, embeddings: Float32Array): Candidates | Promise<Candidates>;
  dispose(): void | Promise<void>;
}

/** The similarities of one tile, as a share of `similarityBytesMax`. */
function shareOfTile(source: SearchSource, { graphs }: PartPlan): number {
  const { similarityBytesMax } = { ...SEARCH_LIMITS, ...source.search.options };
  const values = graphs.map(({ parts }) =>
    parts.reduce((sum, part) => sum + patchesIn(part) * part.rows.length, 0),
  );
  return (Float32Array.BYTES_PER_ELEMENT * Math.max(...values)) / similarityBytesMax;
}

/** Whether the similarities of one tile are small enough for this search. */
export function fitsPartSearch(source: SearchSource, plan: PartPlan): boolean {
  return shareOfTile(source, plan) <= TILE_SHARE_MAX;
}

export class PartSearch {
  private readonly nearestList: NearestList;
  /** More than 1 only where all tiles have the same graph. */
  private readonly tilesPerRun: number;

  private constructor(
    private readonly source: SearchSource,
    private readonly plan: PartPlan,
    private readonly networks: readonly PartNetwork[],
  ) {
    this.nearestList = new NearestList(source.search.scoring.neighbourCount);
    const fitting = Math.floor(RUN_SHARE_MAX / shareOfTile(source, plan));
    this.tilesPerRun = plan.graphs.length === 1 ? Math.max(1, fitting) : 1;
  }

  /** @param compile gets, beside the graph, the plan of one of the tiles that it is for */
  static async open(
    source: SearchSource,
    compile: (graph: PartGraph, tile: TilePlan) => PartNetwork | Promise<PartNetwork>,
    plan = planParts(source),
  ): Promise<PartSearch> {
    const networks: PartNetwork[] = [];
    for (const [index, graph] of plan.graphs.entries()) {
      networks.push(await compile(graph, plan.tiles.find((tile) => tile.graph === index)!));
    }
    return new PartSearch(source, plan, networks);
  }

  /**
   * Bank rows [patches, K], nearest first, ties to the lowest row.
   * @param embeddings float32 [patches, D], in shared memory only where the engine reads that
   */
  async nearest(tiles: TileBatch, embeddings: Float32Array): Promise<Int32Array> {
    const { geometry, search } = this.source;
    const { patchesPerTile } = geometry;
    const k = search.scoring.neighbourCount;
    const rows = new Int32Array(tiles.count * patchesPerTile * k);
    const valuesPerTile = patchesPerTile * search.bank.dimension;
    for (const { first, size } of subBatchesOf(tiles.count, this.tilesPerRun)) {
      const { graph } = this.planOf(tiles, first);
      const queries = embeddings.subarray(first * valuesPerTile, (first + size) * valuesPerTile);
      const candidates = await this.networks[graph]!.run(size, queries);
      for (let tile = 0; tile < size; tile++) {
        const { ranges } = this.planOf(tiles, first + tile);
        for (const [patch, patchRanges] of ranges.entries()) {
          this.nearestList.reset(rows, ((first + tile) * patchesPerTile + patch) * k);
          for (const range of patchRanges) candidates.offer(this.nearestList, tile, range);
        }
      }
    }
    return rows;
  }

  async dispose(): Promise<void> {
    for (const network of this.networks) await network.dispose();
  }

  private planOf({ positions }: TileBatch, tile: number): TilePlan {
    return this.plan.tiles[
      tileIndexAt(this.source.geometry, positions[2 * tile]!, positions[2 * tile + 1]!)
    ]!;
  }
}
