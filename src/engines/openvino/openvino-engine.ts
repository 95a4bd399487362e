/** OpenVINO on the CPU: sessions of one thread unless told otherwise, as onnx has, and faster on Intel's processors. */
import { hasBfloat16 } from '../../network/precision.js';
import { engineFailure, modelSizes } from '../batch.js';
import type { Engine, EngineModel, EngineModelSource, PatchBatch, TileBatch } from '../engine.js';
import { Scratch } from '../scratch.js';
import type { SearchSource } from '../search/part-plan.js';
import { PartSearch } from '../search/part-search.js';
import { type PreparedSearch, prepareSearch } from '../search/prepare.js';
import { Encoder } from './encoder.js';
import { type OpenVino, openOpenVino } from './library.js';
import { OpenVinoProducts } from './products.js';

/**
 * @param folder of the libraries; empty: where `npm run engines:openvino` puts them
 * @param threads that each session computes with
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
      threaded: true,
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
    const { search: inGraph, ...rest } = search.graph;
    const bfloat16 = (source.bfloat16 === true || source.int8 !== undefined) && hasBfloat16();
    const encoder = new Encoder(vino, rest, sizes, { threads, bfloat16 });
    // Whatever the encoder runs in, prototypes are compared in float32.
    const bank = inGraph && (await openBank(vino, { ...rest, search: inGraph }, threads));
    const reduced = bfloat16 ? 'bfloat16' : 'float32';
    return {
      ...sizes,
      search: search.description,
      precision: source.int8 === undefined ? reduced : 'int8',
      run: (tiles, patches) => run({ encoder, bank, search }, tiles, patches),
      async dispose() {
        encoder.dispose();
        await bank?.dispose();
      },
    };
  } catch (error) {
    throw engineFailure('openvino', 'load the model', error);
  }
}

function openBank(vino: OpenVino, source: SearchSource, threads: number): Promise<PartSearch> {
  const scratch = new Scratch();
  return PartSearch.open(source, (graph) => new OpenVinoProducts(vino, source, graph, scratch, threads));
}

/** What a model consists of here. */
interface Loaded {
  readonly encoder: Encoder;
  /** Where the plan is an exact search in the engine. */
  readonly bank: PartSearch | undefined;
  readonly search: PreparedSearch;
}

async function run({ encoder, bank, search }: Loaded, tiles: TileBatch, patches: PatchBatch): Promise<void> {
  try {
    encoder.run(tiles, patches.embeddings);
    search.finish(tiles, await bank?.nearest(tiles, patches.embeddings), patches);
  } catch (error) {
    throw engineFailure('openvino', 'score a batch', error);
  }
}
