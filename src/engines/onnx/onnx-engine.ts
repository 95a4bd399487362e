/**
 * The engine on onnxruntime-node. On the CPU a session has one thread by default, so that throughput scales with the
 * workers; another execution provider can be chosen.
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
import { planParts } from '../search/part-plan.js';
import { fitsPartSearch, PartSearch } from '../search/part-search.js';
import { type PreparedSearch, prepareSearch } from '../search/prepare.js';
import { BestOfParts } from './best-of-parts.js';
import type { OnnxRuntime, OpenSession } from './runtime.js';

/** Imported only when the engine is created: the library is native and large, and may be absent. */
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

interface SessionSettings {
  readonly provider: OnnxProvider;
  /** Of each session, on the processor. */
  readonly threads: number;
}

/**
 * @throws SaladError ENGINE_UNAVAILABLE where onnxruntime-node does not load or does not have the provider, with
 *   onnxruntime's message.
 */
export async function createOnnxEngine({
  sessionThreads: threads = 1,
  onnxProvider: provider = 'cpu',
}: EngineOptions = {}): Promise<Engine> {
  const library = await loadLibrary();
  const onProcessor = provider === 'cpu';
  if (!onProcessor) await checkProvider(library, provider);
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
      canUseSessionThreads: onProcessor,
    },
    load: (source) => loadModel(library, source, { provider, threads }),
    async dispose() {},
  };
}

/** Opens a session of one product, which fails where the provider, its libraries or its device are missing. */
async function checkProvider(library: OnnxRuntime, provider: OnnxProvider): Promise<void> {
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
    const supported = library.listSupportedBackends().map(({ name }) => name);
    const reason = (error as Error).message;
    throw new SaladError(
      'ENGINE_UNAVAILABLE',
      `onnxruntime does not run on ${provider}: ${reason}; this build supports ${supported.join(', ')} (docs/explanation/engines.md)`,
      { cause: error },
    );
  }
}

async function loadModel(
  library: OnnxRuntime,
  source: EngineModelSource,
  { provider, threads }: SessionSettings,
): Promise<EngineModel> {
  const sizes = modelSizes(source);
  const openSession: OpenSession = (onnx) =>
    library.InferenceSession.create(onnx, {
      executionProviders: [provider],
      graphOptimizationLevel: 'all',
      executionMode: 'sequential',
      intraOpNumThreads: threads,
      interOpNumThreads: 1,
      // Errors only: the default prints a warning for every initializer that is optimised away.
      logSeverityLevel: 3,
    });
  try {
    const search = await prepareSearch(source);
    // A device searches in the encoder's graph: otherwise embeddings would be copied from the device and back.
    const partSearch =
      provider === 'cpu' ? await openPartSearch(library, search.graph, openSession) : undefined;
    const { search: _searched, ...encoder } = search.graph;
    const graph = partSearch === undefined ? search.graph : encoder;
    const session = await openSession(buildOnnx(graph, { chunkRows: search.chunkRows }));
    const loaded: LoadedModel = { library, session, graph, search, partSearch, scratch: new Scratch() };
    return {
      ...sizes,
      search: search.description,
      precision: 'float32',
      run: (tiles, patches) => run(loaded, tiles, patches),
      async dispose() {
        await session.release();
        await partSearch?.dispose();
      },
    };
  } catch (error) {
    throw engineFailure('onnx', 'load the model', error);
  }
}

/**
 * @returns undefined where the search in the encoder's graph is better: no search window, few patches, a large bank.
 */
async function openPartSearch(
  library: OnnxRuntime,
  { search, ...encoder }: EngineModelSource,
  openSession: OpenSession,
): Promise<PartSearch | undefined> {
  if (search === undefined || search.options?.inParts === false) return undefined;
  if (search.scoring.searchRadius === null) return undefined;
  const source = { ...encoder, search };
  const plan = planParts(source);
  const isCut = plan.graphs.some(({ parts }) => parts.length > 1);
  if (!isCut || !fitsPartSearch(source, plan)) return undefined;
  return PartSearch.open(
    source,
    (graph, tile) => BestOfParts.open(library, source, graph, tile, openSession),
    plan,
  );
}

interface LoadedModel {
  readonly library: OnnxRuntime;
  readonly session: InferenceSession;
  /** What the session computes: includes the search unless `partSearch` does it. */
  readonly graph: EngineModelSource;
  readonly search: PreparedSearch;
  readonly partSearch: PartSearch | undefined;
  readonly scratch: Scratch;
}

/** The inputs of the session. */
function feedsOf({ library, graph, scratch }: LoadedModel, tiles: TileBatch): Record<string, Tensor> {
  const { tileHeight, tileWidth, tilePixels } = graph.geometry;
  const { count } = tiles;
  // A copy: onnxruntime-node 1.30 refuses views of a SharedArrayBuffer ("Invalid argument").
  const length = count * tilePixels;
  if (tiles.pixels.length < length) {
    throw new RangeError(`${count} tiles have only ${tiles.pixels.length} bytes`);
  }
  const pixels = scratch.array('tiles', 'uint8', length);
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

async function run(loaded: LoadedModel, tiles: TileBatch, patches: PatchBatch): Promise<void> {
  if (tiles.count === 0) return;
  const { session, search, partSearch } = loaded;
  try {
    const outputs = await session.run(feedsOf(loaded, tiles));
    const embeddings = outputs['embeddings']!.data as Float32Array;
    patches.embeddings.set(embeddings);
    const indices = outputs['indices']?.data as BigInt64Array | undefined;
    search.score(tiles, partSearch ? await partSearch.nearest(tiles, embeddings) : indices, patches);
  } catch (error) {
    throw engineFailure('onnx', 'score a batch', error);
  }
}
