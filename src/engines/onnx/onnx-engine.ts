/**
 * onnxruntime-node: on the CPU with sessions of one thread unless told otherwise, so that one engine per worker scales
 * with cores; on a device where it is told so.
 */
import { cpus } from 'node:os';
import type { InferenceSession, Tensor } from 'onnxruntime-node';
import { SaladError } from '../../errors/index.js';
import { buildOnnx } from '../../network/onnx/build.js';
import { buildProductsOnnx } from '../../network/onnx/similarity-parts.js';
import { engineFailure, modelSizes, patchCells } from '../batch.js';
import type {
  Engine,
  EngineModel,
  EngineModelSource,
  EngineOptions,
  OnnxProvider,
  PatchBatch,
  TileBatch,
} from '../engine.js';
import { Scratch } from '../scratch.js';
import { partPlan } from '../search/part-plan.js';
import { fitsParts, PartSearch } from '../search/part-search.js';
import { type PreparedSearch, prepareSearch } from '../search/prepare.js';
import { BestOfParts } from './best-of-parts.js';
import type { OnnxRuntime, OpenSession } from './runtime.js';

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

/** Where sessions run. */
interface Place {
  readonly provider: OnnxProvider;
  /** That each session computes with on the processor. */
  readonly threads: number;
}

/**
 * @throws SaladError ENGINE_UNAVAILABLE where onnxruntime-node does not load, or has no such provider, with
 *   onnxruntime's words.
 */
export async function createOnnxEngine({
  sessionThreads: threads = 1,
  onnxProvider: provider = 'cpu',
}: EngineOptions = {}): Promise<Engine> {
  const library = await loadLibrary();
  const onProcessor = provider === 'cpu';
  if (!onProcessor) await probe(library, provider);
  const processor = cpus()[0]?.model.trim() ?? 'unknown processor';
  const device = onProcessor
    ? `CPU, ${threads} thread${threads === 1 ? '' : 's'}, ${processor}`
    : `provider ${provider}`;
  return {
    info: {
      name: 'onnx',
      device,
      hardware: true,
      // A device has one owner; onnxruntime's WebGPU provider crashes with two.
      maxWorkers: onProcessor ? null : 1,
      threaded: onProcessor,
    },
    load: (source) => loadModel(library, source, { provider, threads }),
    async dispose() {},
  };
}

/** A session of one product tells whether a provider, its libraries and its device are there. */
async function probe(library: OnnxRuntime, provider: OnnxProvider): Promise<void> {
  const bank = { prototypes: Float32Array.of(1), dimension: 1 };
  try {
    const onnx = buildProductsOnnx(
      bank,
      [1, 1],
      [{ top: 0, bottom: 1, left: 0, right: 1, rows: Int32Array.of(0) }],
    );
    const session = await library.InferenceSession.create(onnx, { executionProviders: [provider] });
    await session.release();
  } catch (error) {
    const here = library.listSupportedBackends().map(({ name }) => name);
    throw new SaladError(
      'ENGINE_UNAVAILABLE',
      `onnxruntime does not run on ${provider}: ${(error as Error).message}; this build knows ${here.join(', ')} (docs/explanation/engines.md)`,
      { cause: error },
    );
  }
}

async function loadModel(
  library: OnnxRuntime,
  source: EngineModelSource,
  { provider, threads }: Place,
): Promise<EngineModel> {
  const sizes = modelSizes(source);
  const openSession: OpenSession = (onnx) =>
    library.InferenceSession.create(onnx, {
      executionProviders: [provider],
      graphOptimizationLevel: 'all',
      executionMode: 'sequential',
      intraOpNumThreads: threads,
      interOpNumThreads: 1,
      // Warnings only: the default prints notes about optimised-away initializers for every model.
      logSeverityLevel: 3,
    });
  try {
    const search = await prepareSearch(source);
    // A device searches in its graph: embeddings would have to come back from it first.
    const parts = provider === 'cpu' ? await openParts(library, search.graph, openSession) : undefined;
    const { search: _searched, ...encoder } = search.graph;
    const graph = parts === undefined ? search.graph : encoder;
    const session = await openSession(buildOnnx(graph, { chunkRows: search.chunkRows }));
    const loaded: Loaded = { library, session, graph, search, parts, scratch: new Scratch() };
    return {
      ...sizes,
      search: search.description,
      precision: source.int8 === undefined ? 'float32' : 'int8',
      run: (tiles, patches) => run(loaded, tiles, patches),
      async dispose() {
        await session.release();
        await parts?.dispose();
      },
    };
  } catch (error) {
    throw engineFailure('onnx', 'load the model', error);
  }
}

/** @returns undefined where the graph's own search is better: no search window, few patches a tile, or a large bank. */
async function openParts(
  library: OnnxRuntime,
  { search, ...encoder }: EngineModelSource,
  openSession: OpenSession,
): Promise<PartSearch | undefined> {
  if (search === undefined || search.scoring.searchRadius === null) return undefined;
  const source = { ...encoder, search };
  const plan = partPlan(source);
  const isCut = plan.graphs.some(({ parts }) => parts.length > 1);
  if (!isCut || !fitsParts(source, plan)) return undefined;
  return PartSearch.open(
    source,
    (graph, tile) => BestOfParts.open(library, source, graph, tile, openSession),
    plan,
  );
}

/** What a model consists of here. */
interface Loaded {
  readonly library: OnnxRuntime;
  readonly session: InferenceSession;
  /** What the session computes: with the search, unless `parts` has it. */
  readonly graph: EngineModelSource;
  readonly search: PreparedSearch;
  readonly parts: PartSearch | undefined;
  readonly scratch: Scratch;
}

function feedsOf({ library, graph, scratch }: Loaded, tiles: TileBatch): Record<string, Tensor> {
  const { tileHeight, tileWidth, tilePixels } = graph.geometry;
  const { count } = tiles;
  // A copy: onnxruntime-node 1.30 refuses views over a SharedArrayBuffer ("Invalid argument").
  const length = count * tilePixels;
  if (tiles.pixels.length < length) {
    throw new RangeError(`${count} tiles have only ${tiles.pixels.length} bytes`);
  }
  const pixels = scratch.of('tiles', 'uint8', length);
  pixels.set(tiles.pixels.subarray(0, length));
  const feeds: Record<string, Tensor> = {
    tiles: new library.Tensor('uint8', pixels, [count, tileHeight, tileWidth, 1]),
  };
  if (graph.search !== undefined && graph.search.scoring.searchRadius !== null) {
    const cells = BigInt64Array.from(patchCells(graph, tiles), BigInt);
    feeds['cells'] = new library.Tensor('int64', cells, [cells.length]);
  }
  return feeds;
}

async function run(loaded: Loaded, tiles: TileBatch, patches: PatchBatch): Promise<void> {
  if (tiles.count === 0) return;
  const { session, search, parts } = loaded;
  try {
    const results = await session.run(feedsOf(loaded, tiles));
    const embeddings = results['embeddings']!.data as Float32Array;
    patches.embeddings.set(embeddings);
    const indices = results['indices']?.data as BigInt64Array | undefined;
    search.finish(tiles, parts ? await parts.nearest(tiles, embeddings) : indices, patches);
  } catch (error) {
    throw engineFailure('onnx', 'score a batch', error);
  }
}
