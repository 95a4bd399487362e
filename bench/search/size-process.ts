/** Measures one kind of search of one bank in a separate process, so that its memory can be measured. Answers over IPC. */
import { createRequire } from 'node:module';
import { InferenceSession, Tensor } from 'onnxruntime-node';
import { allocatePatchBatch } from '../../src/engines/batch.js';
import type { EngineModelSource } from '../../src/engines/engine.js';
import { openPrototypeIndex } from '../../src/engines/search/prototype-index.js';
import { Shards } from '../../src/engines/search/shards.js';
import { createEngine } from '../../src/engines/selection/select.js';
import { OnnxWriter } from '../../src/network/onnx/writer.js';
import { candidatesFor } from '../../src/scoring/search-plan.js';
import { median } from '../support/figures.js';
import { DIMENSION, NEIGHBOURS, PATCHES, queryTiles, searchProblem } from './problem.js';

export type SearchKind = 'matmul' | 'exact' | 'index' | 'library';

export interface SearchFigures {
  /** On one thread. */
  readonly msPerTile: number;
  /** Time per tile of the library alone, with the patches of a tile spread over all cores. */
  readonly msAllCores?: number;
  readonly peakRssMiB: number;
  /** Bank rows of the neighbours of every patch, nearest first; empty for the matrix product. */
  readonly neighbours: readonly number[];
  readonly search?: string;
  readonly buildSeconds?: number;
  readonly expansion?: number;
}

type SearchTimes = Omit<SearchFigures, 'peakRssMiB'>;

const [, , kind = 'exact', rows = '10000', directory = ''] = process.argv;

/** Runs five tiles to warm up, then returns the median time of a tile in ms. */
async function medianMs(tiles: number, run: (tile: number) => Promise<void> | void): Promise<number> {
  for (let tile = 0; tile < 5; tile++) await run(tile);
  const times: number[] = [];
  for (let tile = 0; tile < tiles; tile++) {
    const startMs = performance.now();
    await run(tile);
    times.push(performance.now() - startMs);
  }
  return median(times);
}

/** Measures only the matrix product of four patches and the bank. */
async function plainMatmul({ search }: EngineModelSource): Promise<SearchTimes> {
  const { bank } = search!;
  const transposed = new Float32Array(bank.prototypes.length);
  for (let row = 0; row < bank.rows; row++) {
    for (let axis = 0; axis < DIMENSION; axis++) {
      transposed[axis * bank.rows + row] = bank.prototypes[row * DIMENSION + axis]!;
    }
  }
  const writer = new OnnxWriter();
  writer.input('queries', 'float', [PATCHES, DIMENSION]);
  writer.node('MatMul', ['queries', writer.floats('bank', [DIMENSION, bank.rows], transposed)], 'product');
  writer.output('product', 'float', [PATCHES, bank.rows]);
  const session = await InferenceSession.create(writer.encode('matmul', 'one product'), {
    intraOpNumThreads: 1,
    interOpNumThreads: 1,
    logSeverityLevel: 3,
  });
  const msPerTile = await medianMs(50, async (tile) => {
    const queries = bank.prototypes.slice(tile * PATCHES * DIMENSION, (tile + 1) * PATCHES * DIMENSION);
    await session.run({ queries: new Tensor('float32', queries, [PATCHES, DIMENSION]) });
  });
  return { msPerTile, neighbours: [] };
}

/** Measures the search of the engine, as a server uses it. */
async function engineSearch(source: EngineModelSource): Promise<SearchTimes> {
  const engine = await createEngine('onnx');
  const model = await engine.load(source);
  const patches = allocatePatchBatch(1, model);
  const tiles = queryTiles(source);
  const neighbours: number[][] = [];
  const msPerTile = await medianMs(tiles.length, async (tile) => {
    await model.run(tiles[tile]!, patches);
    neighbours[tile] = [...patches.neighbourIndices];
  });
  return { msPerTile, neighbours: neighbours.flat(), search: model.search };
}

/** The options that the engine uses, so that both use the same index file. */
const indexOptions = () => ({
  directory,
  neighbourCount: NEIGHBOURS,
  candidates: candidatesFor(NEIGHBOURS),
});

/** Measures usearch alone on the same files: K neighbours of four given vectors, on one thread and on all cores. */
async function libraryAlone(source: EngineModelSource): Promise<SearchTimes> {
  const { search, ...encoder } = source;
  const index = await openPrototypeIndex(search!.bank, indexOptions());
  const built = 'reason' in index ? index.built : index;
  if (built === undefined) throw new Error('usearch cannot be loaded');
  const tiles = queryTiles(source);
  const engine = await createEngine('onnx');
  const model = await engine.load(encoder);
  const patches = allocatePatchBatch(1, model);
  const queries: Float32Array[] = [];
  for (const tile of tiles) {
    await model.run(tile, patches);
    queries.push(patches.embeddings.slice());
  }
  const library = createRequire(import.meta.url)('usearch') as typeof import('usearch');
  const shards = new Shards(library, built.paths, DIMENSION, built.expansion);
  const neighbours: number[][] = [];
  const measureWith = (threads: number): Promise<number> =>
    medianMs(tiles.length, (tile) => {
      neighbours[tile] = [...shards.search(queries[tile]!, PATCHES, NEIGHBOURS, threads)];
    });
  const msPerTile = await measureWith(1);
  const msAllCores = await measureWith(0);
  const { buildSeconds, expansion } = built;
  return { msPerTile, msAllCores, neighbours: neighbours.flat(), buildSeconds, expansion };
}

async function measure(): Promise<SearchTimes> {
  const exactRowsMax = kind === 'index' ? 1 : Number.MAX_SAFE_INTEGER;
  const source = searchProblem(Number(rows), { exactRowsMax, indexDirectory: directory });
  if (kind === 'matmul') return plainMatmul(source);
  return kind === 'library' ? libraryAlone(source) : engineSearch(source);
}

const figures: SearchFigures = {
  ...(await measure()),
  peakRssMiB: Math.round(process.resourceUsage().maxRSS / 1024),
};
process.send?.(figures, () => process.disconnect());
