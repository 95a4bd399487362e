/** Exact search beside an encoder: an engine does the products, part by part, and the K nearest are picked here. */
import { SEARCH_LIMITS } from '../../scoring/search-plan.js';
import { piecesOf } from '../batch.js';
import type { TileBatch } from '../engine.js';
import { NearestList } from './nearest-list.js';
import {
  type PartGraph,
  type PartPlan,
  partPlan,
  patchesIn,
  type SearchSource,
  type Span,
  type TilePlan,
} from './part-plan.js';

/** Of the bytes that similarities may take: beyond it one tile's are not for this search. */
const TILE_SHARE_MAX = 1 / 4;
/** What several tiles at a time may take: a core's own cache. */
const RUN_SHARE_MAX = 1 / 16;

/** What a run found, good until the next one. */
export interface Candidates {
  /** Offers what `span` reaches of its part, or at least the K nearest of that. @param tile of the run, from 0 */
  offer(nearest: NearestList, tile: number, span: Span): void;
}

/** One graph on an engine. */
export interface PartNetwork {
  /** @param embeddings float32 [tiles, P, D], in shared memory only where the engine reads that */
  run(tiles: number, embeddings: Float32Array): Candidates | Promise<Candidates>;
  dispose(): void | Promise<void>;
}

/** The part of the bytes that similarities may take which those of one tile do. */
function shareOfTile(source: SearchSource, { graphs }: PartPlan): number {
  const { similarityBytesMax } = { ...SEARCH_LIMITS, ...source.search.options };
  const values = graphs.map(({ parts }) =>
    parts.reduce((sum, part) => sum + patchesIn(part) * part.rows.length, 0),
  );
  return (Float32Array.BYTES_PER_ELEMENT * Math.max(...values)) / similarityBytesMax;
}

/** Whether the similarities of one tile are few enough. */
export function fitsParts(source: SearchSource, plan: PartPlan): boolean {
  return shareOfTile(source, plan) <= TILE_SHARE_MAX;
}

export class PartSearch {
  private readonly nearestOf: NearestList;
  /** Several where one graph serves all of them. */
  private readonly tilesPerRun: number;

  private constructor(
    private readonly source: SearchSource,
    private readonly plan: PartPlan,
    private readonly networks: readonly PartNetwork[],
  ) {
    this.nearestOf = new NearestList(source.search.scoring.neighbourCount);
    const fitting = Math.floor(RUN_SHARE_MAX / shareOfTile(source, plan));
    this.tilesPerRun = plan.graphs.length === 1 ? Math.max(1, fitting) : 1;
  }

  /** @param compile is told of one of the tiles that a graph is for, too */
  static async open(
    source: SearchSource,
    compile: (graph: PartGraph, tile: TilePlan) => PartNetwork | Promise<PartNetwork>,
    plan = partPlan(source),
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
    const found = new Int32Array(tiles.count * patchesPerTile * k);
    const valuesPerTile = patchesPerTile * search.bank.dimension;
    for (const { first, size } of piecesOf(tiles.count, this.tilesPerRun)) {
      const { graph } = this.planOf(tiles, first);
      const queries = embeddings.subarray(first * valuesPerTile, (first + size) * valuesPerTile);
      const candidates = await this.networks[graph]!.run(size, queries);
      for (let tile = 0; tile < size; tile++) {
        const { spans } = this.planOf(tiles, first + tile);
        for (const [within, own] of spans.entries()) {
          this.nearestOf.reset(found, ((first + tile) * patchesPerTile + within) * k);
          for (const span of own) candidates.offer(this.nearestOf, tile, span);
        }
      }
    }
    return found;
  }

  async dispose(): Promise<void> {
    for (const network of this.networks) await network.dispose();
  }

  private planOf({ positions }: TileBatch, tile: number) {
    const index = positions[2 * tile]! * this.source.geometry.tileColumns + positions[2 * tile + 1]!;
    return this.plan.tiles[index]!;
  }
}
