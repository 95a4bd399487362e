/** OpenVINO on the CPU: sessions of one thread unless told otherwise, as onnx has, and faster on Intel's processors. */
import { buildOnnx } from '../../model/build-onnx.js';
import { inputWidthOf } from '../../model/network.js';
import { engineFailure, modelSizes } from '../batch.js';
import type { Engine, EngineModel, EngineModelSource, PatchBatch, TileBatch } from '../engine.js';
import { type PreparedSearch, prepareSearch } from '../search/prepare.js';
import { BankSearch } from './bank-search.js';
import { type OpenVino, openOpenVino } from './library.js';
import { SizedNetwork } from './sized-network.js';

/** Tiles of one run; more at once gain nothing. */
const MAX_TILES = 16;

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

/** What a model consists of here. */
interface Loaded {
  readonly source: EngineModelSource;
  readonly encoder: SizedNetwork;
  readonly search: PreparedSearch;
  /** Where the plan is an exact search in the engine. */
  readonly bank: BankSearch | undefined;
}

async function loadModel(vino: OpenVino, source: EngineModelSource, threads: number): Promise<EngineModel> {
  const sizes = modelSizes(source);
  try {
    const search = await prepareSearch(source);
    const { search: inGraph, ...encoder } = search.graph;
    const { network } = source;
    const inputShape = (tiles: number) => [tiles, network.inputSize, inputWidthOf(network), 1];
    const loaded: Loaded = {
      source,
      encoder: new SizedNetwork(vino, buildOnnx(encoder), inputShape, MAX_TILES, {
        threads,
        precision: 'f32',
      }),
      search,
      bank: inGraph && new BankSearch(vino, { ...encoder, search: inGraph }, threads),
    };
    return {
      ...sizes,
      search: search.description,
      precision: source.int8 === undefined ? 'float32' : 'int8',
      run: (tiles, patches) => run(loaded, sizes, tiles, patches),
      async dispose() {
        loaded.encoder.dispose();
        loaded.bank?.dispose();
      },
    };
  } catch (error) {
    throw engineFailure('openvino', 'load the model', error);
  }
}

async function run(
  { source, encoder, search, bank }: Loaded,
  { patchCount, dimension }: Pick<EngineModel, 'patchCount' | 'dimension'>,
  tiles: TileBatch,
  patches: PatchBatch,
): Promise<void> {
  const { tilePixels } = source.geometry;
  const { inputSize: height } = source.network;
  const width = inputWidthOf(source.network);
  const perTile = patchCount * dimension;
  try {
    for (const { network, first, count } of encoder.pieces(tiles.count)) {
      // OpenVINO reads the slot and writes into it: no copies.
      const pixels = tiles.pixels.subarray(first * tilePixels, (first + count) * tilePixels);
      const embeddings = patches.embeddings.subarray(first * perTile, (first + count) * perTile);
      network.run({ shape: [count, height, width, 1], data: pixels }, [
        { shape: [count * patchCount, dimension], data: embeddings },
      ]);
    }
    search.finish(tiles, bank?.nearest(tiles, patches.embeddings), patches);
  } catch (error) {
    throw engineFailure('openvino', 'score a batch', error);
  }
}
