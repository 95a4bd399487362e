/**
 * HNSW graphs (usearch) over slices of a bank, searched one after another and merged. A graph over all of a large
 * bank is the costlier one: on a million clustered vectors it was built in 322 s and missed 2 % of the near neighbours
 * however widely it was searched, where eight graphs took 90 s and missed none (docs/results/2026-11/engines.md, "Search").
 */
import type { Index } from 'usearch';
import type { MemoryBank } from '../../scoring/memory-bank.js';

export type Usearch = typeof import('usearch');

/** Rows of one graph at most. */
export const SHARD_ROWS_MAX = 125_000;
const CONNECTIVITY = 16;
const EXPANSION_ADD = 64;
/** Half the memory of float32; candidates are ranked by the float32 vectors afterwards. */
const QUANTIZATION = 'bf16';
/** Names the library's file format and our parameters: a file made otherwise is not taken for one of these. */
export const FORMAT = `usearch-2.25-${QUANTIZATION}-${CONNECTIVITY}-${EXPANSION_ADD}`;
/**
 * Several threads race, and which rows become hard to reach differs from build to build: a bank that one thread takes
 * in a second or so is built the same way every time.
 */
const SINGLE_THREADED_ROWS_MAX = 10_000;

function createIndex(library: Usearch, dimension: number, expansion: number): Index {
  return new library.Index({
    dimensions: dimension,
    metric: library.MetricKind.IP,
    quantization: library.ScalarKind.BF16,
    connectivity: CONNECTIVITY,
    expansion_add: EXPANSION_ADD,
    expansion_search: expansion,
    multi: false,
  });
}

/** First rows of equal slices of at most `shardRows` rows, and the end of the last. */
export function shardEdges(rows: number, shardRows: number): readonly number[] {
  const count = Math.ceil(rows / shardRows);
  return Array.from({ length: count + 1 }, (_, shard) => Math.floor((shard * rows) / count));
}

/** Writes one file a shard, by all cores. @param pathOf where the file of a shard goes */
export function buildShards(
  library: Usearch,
  { rows, dimension, prototypes }: MemoryBank,
  edges: readonly number[],
  pathOf: (shard: number) => string,
): void {
  for (let shard = 0; shard + 1 < edges.length; shard++) {
    const [from, to] = [edges[shard]!, edges[shard + 1]!];
    const index = createIndex(library, dimension, EXPANSION_ADD);
    index.add(
      BigUint64Array.from({ length: to - from }, (_, row) => BigInt(from + row)),
      prototypes.subarray(from * dimension, to * dimension),
      rows <= SINGLE_THREADED_ROWS_MAX ? 1 : 0,
    );
    index.save(pathOf(shard));
  }
}

/** The graphs of one bank, mapped into memory from their files. */
export class Shards {
  private readonly indexes: readonly Index[];

  constructor(
    library: Usearch,
    paths: readonly string[],
    dimension: number,
    /** Candidates each graph keeps while it is searched. */
    expansion: number,
  ) {
    this.indexes = paths.map((path) => {
      const index = createIndex(library, dimension, expansion);
      index.view(path);
      return index;
    });
  }

  /**
   * @param queries float32 [count, D] in memory that is not shared
   * @param threads 1 where every core has a worker already; 0: all
   * @returns bank rows [count, candidates], best first; -1 where fewer were found
   */
  search(queries: Float32Array, count: number, candidates: number, threads = 1): Int32Array {
    const parts = this.indexes.map((index) => index.search(queries, candidates, threads));
    const found = new Int32Array(count * candidates).fill(-1);
    for (let query = 0; query < count; query++) {
      const best: { readonly row: number; readonly distance: number }[] = [];
      for (const { keys, distances } of parts) {
        const end = Math.min((query + 1) * candidates, keys.length);
        for (let at = query * candidates; at < end; at++) {
          const distance = distances[at]!;
          // Where the library finds fewer it fills up with key 0 at no distance.
          if (!Number.isNaN(distance)) best.push({ row: Number(keys[at]), distance });
        }
      }
      // Each part is sorted already.
      if (parts.length > 1) best.sort((a, b) => a.distance - b.distance);
      const own = Math.min(candidates, best.length);
      for (let place = 0; place < own; place++) found[query * candidates + place] = best[place]!.row;
    }
    return found;
  }
}
