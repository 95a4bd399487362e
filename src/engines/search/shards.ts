/**
 * Shards: HNSW graphs (usearch) over slices of a bank, searched one after another; their results are merged. One graph
 * over all of a large bank costs more: on a million clustered vectors its build took 322 s, and it missed 2 % of the
 * near neighbours with every width of the search. Eight graphs took 90 s and missed none
 * (docs/results/2026-11/engines.md, "Search").
 */
import type { Index } from 'usearch';
import type { MemoryBank } from '../../scoring/memory-bank.js';

export type Usearch = typeof import('usearch');

/** Largest number of rows in a shard. */
export const SHARD_ROWS_MAX = 125_000;
const CONNECTIVITY = 16;
const EXPANSION_ADD = 64;
/** Half the memory of float32; candidates are ranked by the float32 vectors afterwards. */
const QUANTIZATION = 'bf16';
/** Version of the library's file format and our parameters. It is part of the file name, so no other file is opened. */
export const FORMAT = `usearch-2.25-${QUANTIZATION}-${CONNECTIVITY}-${EXPANSION_ADD}`;
/**
 * A build with several threads is not reproducible: the order of insertion differs, and with it the rows that are hard
 * to reach. A bank up to this size, which one thread builds in about a second, is built with one thread.
 */
const SINGLE_THREAD_ROWS_MAX = 10_000;

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

/** First rows of nearly equal slices of at most `shardRows` rows, then the end of the last slice. */
export function shardEdges(rows: number, shardRows: number): readonly number[] {
  const count = Math.ceil(rows / shardRows);
  return Array.from({ length: count + 1 }, (_, shard) => Math.floor((shard * rows) / count));
}

/** Builds the shards on all cores and writes a file for each. @param pathOf path of a shard's file */
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
      rows <= SINGLE_THREAD_ROWS_MAX ? 1 : 0,
    );
    index.save(pathOf(shard));
  }
}

/** The shards of one bank, mapped into memory from their files. */
export class Shards {
  private readonly indexes: readonly Index[];

  constructor(
    library: Usearch,
    paths: readonly string[],
    dimension: number,
    /** Candidates that each graph keeps during a search. */
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
   * @param threads 1 where every core already runs a worker; 0: all cores
   * @returns bank rows [count, candidates], best first; -1 where fewer were found
   */
  search(queries: Float32Array, count: number, candidates: number, threads = 1): Int32Array {
    const results = this.indexes.map((index) => index.search(queries, candidates, threads));
    const rows = new Int32Array(count * candidates).fill(-1);
    for (let query = 0; query < count; query++) {
      const best: { readonly row: number; readonly distance: number }[] = [];
      for (const { keys, distances } of results) {
        const end = Math.min((query + 1) * candidates, keys.length);
        for (let at = query * candidates; at < end; at++) {
          const distance = distances[at]!;
          // Where the library finds fewer, it fills the rest with key 0 and distance NaN.
          if (!Number.isNaN(distance)) best.push({ row: Number(keys[at]), distance });
        }
      }
      // The result of one shard is sorted already.
      if (results.length > 1) best.sort((a, b) => a.distance - b.distance);
      const found = Math.min(candidates, best.length);
      for (let rank = 0; rank < found; rank++) rows[query * candidates + rank] = best[rank]!.row;
    }
    return rows;
  }
}
