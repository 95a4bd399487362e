/** onnxruntime-node on the CPU: sessions of one thread unless told otherwise, so that one engine per worker scales with cores. */
import { cpus } from 'node:os';
import type { InferenceSession, Tensor } from 'onnxruntime-node';
import { SaladError } from '../../errors/index.js';
import { buildOnnx } from '../../model/build-onnx.js';
import { engineFailure, modelSizes, patchCells } from '../batch.js';
import type { Engine, EngineModel, EngineModelSource, PatchBatch, TileBatch } from '../engine.js';
import { type PreparedSearch, prepareSearch } from '../search/prepare.js';
import { BandSearch } from './band-search.js';

export type OnnxRuntime = typeof import('onnxruntime-node');
export type OpenSession = (onnx: Uint8Array) => Promise<InferenceSession>;

/** The library is native and large: it is loaded when the engine is, and its absence is an answer. */
async function loadLibrary(): Promise<OnnxRuntime> {
  try {
    const module = (await import('onnxruntime-node')) as OnnxRuntime & { readonly default?: OnnxRuntime };
    return module.default ?? module;
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    throw new SaladError('ENGINE_UNAVAILABLE', `onnxruntime-node does not load: ${message}`, {
      cause: error,
    });
  }
}

/**
 * @param threads that each session computes with
 * @throws SaladError ENGINE_UNAVAILABLE where onnxruntime-node does not load.
 */
export async function createOnnxEngine(threads = 1): Promise<Engine> {
  const library = await loadLibrary();
  const processor = cpus()[0]?.model.trim() ?? 'unknown processor';
  return {
    info: {
      name: 'onnx',
      device: `CPU, ${threads} thread${threads === 1 ? '' : 's'}, ${processor}`,
      hardware: true,
      maxWorkers: null,
      threaded: true,
    },
    load: (source) => loadModel(library, source, threads),
    async dispose() {},
  };
}

async function loadModel(
  library: OnnxRuntime,
  source: EngineModelSource,
  threads: number,
): Promise<EngineModel> {
  const sizes = modelSizes(source);
  const openSession: OpenSession = (onnx) =>
    library.InferenceSession.create(onnx, {
      executionProviders: ['cpu'],
      graphOptimizationLevel: 'all',
      executionMode: 'sequential',
      intraOpNumThreads: threads,
      interOpNumThreads: 1,
      // Warnings only: the default prints notes about optimised-away initializers for every model.
      logSeverityLevel: 3,
    });
  try {
    const search = await prepareSearch(source);
    const bands = await BandSearch.open(library, search.graph, openSession);
    const { search: _searched, ...encoder } = search.graph;
    const graph = bands === undefined ? search.graph : encoder;
    const session = await openSession(buildOnnx(graph, search.chunkRows));
    return {
      ...sizes,
      search: search.description,
      precision: source.int8 === undefined ? 'float32' : 'int8',
      run: (tiles, patches) => run({ library, session, graph, search, bands }, tiles, patches),
      async dispose() {
        await session.release();
        await bands?.dispose();
      },
    };
  } catch (error) {
    throw engineFailure('onnx', 'load the model', error);
  }
}

/** What a model consists of here. */
interface Loaded {
  readonly library: OnnxRuntime;
  readonly session: InferenceSession;
  /** What the session computes: with the search, unless bands have it. */
  readonly graph: EngineModelSource;
  readonly search: PreparedSearch;
  readonly bands: BandSearch | undefined;
}

function feeds(library: OnnxRuntime, source: EngineModelSource, tiles: TileBatch): Record<string, Tensor> {
  const { tileHeight, tileWidth, tilePixels } = source.geometry;
  const { count } = tiles;
  const shape = [count, tileHeight, tileWidth, 1];
  // A copy, not a view: onnxruntime-node 1.30 refuses views over a SharedArrayBuffer ("Invalid argument").
  // 4 KiB per 64 px tile, nothing beside the encoder.
  const pixels = tiles.pixels.slice(0, count * tilePixels);
  const inputs: Record<string, Tensor> = { tiles: new library.Tensor('uint8', pixels, shape) };
  if (source.search !== undefined && source.search.scoring.searchRadius !== null) {
    const cells = BigInt64Array.from(patchCells(source, tiles), BigInt);
    inputs['cells'] = new library.Tensor('int64', cells, [cells.length]);
  }
  return inputs;
}

async function run(
  { library, session, graph, search, bands }: Loaded,
  tiles: TileBatch,
  patches: PatchBatch,
): Promise<void> {
  if (tiles.count === 0) return;
  try {
    const results = await session.run(feeds(library, graph, tiles));
    const embeddings = results['embeddings']!.data as Float32Array;
    patches.embeddings.set(embeddings);
    const indices = results['indices']?.data as BigInt64Array | undefined;
    search.finish(tiles, bands ? await bands.nearest(tiles, embeddings) : indices, patches);
  } catch (error) {
    throw engineFailure('onnx', 'score a batch', error);
  }
}
