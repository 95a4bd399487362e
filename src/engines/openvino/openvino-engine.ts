/**
 * The engine on OpenVINO, on the CPU. As with onnx a session has one thread by default. Faster on Intel's processors.
 */
import { hasBfloat16 } from '../../network/precision.js';
import { engineFailure, modelSizes } from '../batch.js';
import type { Engine, EngineModel, EngineModelSource, PatchBatch, TileBatch } from '../engine.js';
import { Scratch } from '../scratch.js';
import type { SearchSource } from '../search/part-plan.js';
import { PartSearch } from '../search/part-search.js';
import { type PreparedSearch, prepareSearch } from '../search/prepare.js';
import { Encoder } from './encoder.js';
import { type OpenVino, openOpenVino } from './library.js';
import { PartProducts } from './part-products.js';

/**
 * @param folder of the libraries; empty: the one that `npm run engines:openvino` fills
 * @param threads of each session
 * @throws SaladError ENGINE_UNAVAILABLE where the libraries or koffi do not load.
 */
export async function createOpenVinoEngine(folder = '', threads = 1): Promise<Engine> {
  const vino = await openOpenVino(folder);
  const kernels = vino.capabilities.filter((name) => ['FP32', 'BF16', 'FP16', 'INT8'].includes(name));
  return {
    info: {
      name: 'openvino',
      device: `CPU, ${threads} thread${threads === 1 ? '' : 's'}, ${vino.processor}, OpenVINO ${vino.version} (${kernels.join(' ')})`,
      hardware: true,
      maxWorkers: null,
      canUseSessionThreads: true,
    },
    load: (source) => loadModel(vino, source, threads),
    async dispose() {
      vino.dispose();
    },
  };
}

async function loadModel(vino: OpenVino, source: EngineModelSource, threads: number): Promise<EngineModel> {
  const sizes = modelSizes(source);
  try {
    const search = await prepareSearch(source);
    const { search: engineSearch, ...encoderSource } = search.graph;
    const bfloat16 = source.bfloat16 === true && hasBfloat16();
    const encoder = new Encoder(vino, encoderSource, sizes, { threads, bfloat16 });
    // Prototypes are compared in float32, whatever the encoder's precision.
    const partSearch =
      engineSearch && (await openPartSearch(vino, { ...encoderSource, search: engineSearch }, threads));
    return {
      ...sizes,
      search: search.description,
      precision: bfloat16 ? 'bfloat16' : 'float32',
      run: (tiles, patches) => run({ encoder, partSearch, search }, tiles, patches),
      async dispose() {
        encoder.dispose();
        await partSearch?.dispose();
      },
    };
  } catch (error) {
    throw engineFailure('openvino', 'load the model', error);
  }
}

function openPartSearch(vino: OpenVino, source: SearchSource, threads: number): Promise<PartSearch> {
  const scratch = new Scratch();
  return PartSearch.open(source, (graph) => new PartProducts(vino, source, graph, scratch, threads));
}

interface LoadedModel {
  readonly encoder: Encoder;
  /** Present where the plan is an exact search in the engine. */
  readonly partSearch: PartSearch | undefined;
  readonly search: PreparedSearch;
}

async function run(
  { encoder, partSearch, search }: LoadedModel,
  tiles: TileBatch,
  patches: PatchBatch,
): Promise<void> {
  try {
    encoder.run(tiles, patches.embeddings);
    search.score(tiles, await partSearch?.nearest(tiles, patches.embeddings), patches);
  } catch (error) {
    throw engineFailure('openvino', 'score a batch', error);
  }
}
