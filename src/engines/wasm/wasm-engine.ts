/** tfjs on WebAssembly with SIMD: slower than native code, and there wherever Node runs. */
import { createRequire } from 'node:module';
import { dirname, sep } from 'node:path';
import * as tf from '@tensorflow/tfjs-core';
import { SaladError } from '../../errors/index.js';
import { buildTfjs, type TfjsNetwork, tfjsParameters } from '../../model/build-tfjs.js';
import { foldBatchNorm } from '../../model/fold.js';
import { searchWindow } from '../../scoring/memory-bank.js';
import { engineFailure, modelSizes, patchCells } from '../batch.js';
import type { Engine, EngineModel, EngineModelSource, PatchBatch, TileBatch } from '../engine.js';
import { finishPatches } from '../finish.js';

/** Registers the backend and makes it the current one. Safe to call often. */
async function startBackend(): Promise<void> {
  try {
    const { setWasmPaths } = await import('@tensorflow/tfjs-backend-wasm');
    if (tf.getBackend() === 'wasm') return;
    const entry = createRequire(import.meta.url).resolve('@tensorflow/tfjs-backend-wasm');
    setWasmPaths(dirname(entry) + sep);
    if (!(await tf.setBackend('wasm'))) throw new Error('tfjs could not start its wasm backend');
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    throw new SaladError('ENGINE_UNAVAILABLE', `wasm does not start: ${message}`, { cause: error });
  }
}

/** @throws SaladError ENGINE_UNAVAILABLE where the backend does not start. */
export async function createWasmEngine(): Promise<Engine> {
  await startBackend();
  const simd = (await tf.env().getAsync('WASM_HAS_SIMD_SUPPORT')) === true;
  return {
    info: { name: 'wasm', device: `WebAssembly, 1 thread${simd ? ', SIMD' : ''}`, hardware: false },
    load: loadModel,
    async dispose() {},
  };
}

/** What lives on the backend while a model is loaded. */
interface LoadedTensors {
  readonly network: TfjsNetwork;
  readonly parameters: Record<string, tf.Tensor>;
  /** float32 [D, rows]. */
  readonly prototypes: tf.Tensor2D | undefined;
  /** float32 [cells, rows]: 0 inside the search window, -4 outside (any cosine falls below -2 with it). */
  readonly penalty: tf.Tensor2D | undefined;
}

function loadTensors(source: EngineModelSource): LoadedTensors {
  const folded = foldBatchNorm(source.network, source.weights);
  const network = buildTfjs(folded.network);
  const parameters = tfjsParameters(folded.weights);
  if (source.search === undefined) {
    return { network, parameters, prototypes: undefined, penalty: undefined };
  }
  const { bank, scoring } = source.search;
  const prototypes = tf.tidy(() =>
    tf.transpose(tf.tensor2d(bank.prototypes, [bank.rows, bank.dimension])),
  ) as tf.Tensor2D;
  if (scoring.searchRadius === null) return { network, parameters, prototypes, penalty: undefined };
  const { patchGrid } = source.geometry;
  const window = searchWindow(bank, patchGrid, scoring.searchRadius);
  const penalty = tf.tensor2d(
    Float32Array.from(window, (inside) => (inside ? 0 : -4)),
    [patchGrid * patchGrid, bank.rows],
  );
  return { network, parameters, prototypes, penalty };
}

async function loadModel(source: EngineModelSource): Promise<EngineModel> {
  const sizes = modelSizes(source);
  try {
    const tensors = loadTensors(source);
    return {
      ...sizes,
      run: async (tiles, patches) => run(source, tensors, sizes, tiles, patches),
      async dispose() {
        tf.dispose([tensors.parameters, tensors.prototypes ?? [], tensors.penalty ?? []]);
      },
    };
  } catch (error) {
    throw engineFailure('wasm', 'load the model', error);
  }
}

/** Embeddings [patches, D] and, with a bank, the rows of the K nearest [patches, K]. */
function forward(
  source: EngineModelSource,
  tensors: LoadedTensors,
  dimension: number,
  tiles: TileBatch,
): { readonly embeddings: tf.Tensor2D; readonly indices: tf.Tensor2D | undefined } {
  const side = source.geometry.tileSize;
  const samples = Float32Array.from(tiles.pixels.subarray(0, tiles.count * side * side));
  const input = tf.tensor4d(samples, [tiles.count, side, side, 1]);
  const { output } = tensors.network.forward(input, tensors.parameters, 'inference');
  const embeddings = tf.reshape(output, [-1, dimension]) as tf.Tensor2D;
  if (source.search === undefined || tensors.prototypes === undefined) {
    return { embeddings, indices: undefined };
  }
  let cosines: tf.Tensor = tf.clipByValue(tf.matMul(embeddings, tensors.prototypes), -1, 1);
  if (tensors.penalty !== undefined) {
    const cells = tf.tensor1d(patchCells(source, tiles), 'int32');
    cosines = tf.add(cosines, tf.gather(tensors.penalty, cells));
  }
  const { indices } = tf.topk(cosines, source.search.scoring.neighbourCount, true);
  return { embeddings, indices: indices as tf.Tensor2D };
}

function run(
  source: EngineModelSource,
  tensors: LoadedTensors,
  sizes: Pick<EngineModel, 'patchCount' | 'dimension'>,
  tiles: TileBatch,
  patches: PatchBatch,
): void {
  if (tiles.count === 0) return;
  try {
    tf.tidy(() => {
      const { embeddings, indices } = forward(source, tensors, sizes.dimension, tiles);
      patches.embeddings.set(embeddings.dataSync());
      if (source.search !== undefined && indices !== undefined) {
        finishPatches(source.search, indices.dataSync(), tiles.count * sizes.patchCount, patches);
      }
    });
  } catch (error) {
    throw engineFailure('wasm', 'score a batch', error);
  }
}
