/** A model on a tfjs backend: encoder and neighbour search as one graph, the same for every backend. */
import * as tf from '@tensorflow/tfjs-core';
import { buildTfjs, type TfjsNetwork, tfjsParameters } from '../../model/build-tfjs.js';
import { foldBatchNorm } from '../../model/fold.js';
import { searchWindow } from '../../scoring/memory-bank.js';
import { engineFailure, modelSizes, patchCells } from '../batch.js';
import type { EngineModel, EngineModelSource, EngineName, PatchBatch, TileBatch } from '../engine.js';
import { finishPatches } from '../finish.js';

/** The tfjs backend an engine stands on. It has been started, so that making it current again is instant. */
export interface TfjsRuntime {
  readonly engine: EngineName;
  /** As tfjs knows it. */
  readonly backend: string;
  /** Runs work and throws what the device reported meanwhile; not re-entrant. */
  guard<T>(work: () => Promise<T>): Promise<T>;
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

/** Several backends may live in one thread (the ladder tries them in turn); tensors go to the current one. */
async function makeCurrent({ backend }: TfjsRuntime): Promise<void> {
  if (tf.getBackend() === backend) return;
  if (!(await tf.setBackend(backend))) throw new Error(`tfjs' ${backend} backend is gone`);
}

/** @throws SaladError ENGINE_FAILED where the model cannot be built on the backend. */
export async function loadTfjsModel(runtime: TfjsRuntime, source: EngineModelSource): Promise<EngineModel> {
  const sizes = modelSizes(source);
  try {
    await makeCurrent(runtime);
    const tensors = loadTensors(source);
    return {
      ...sizes,
      run: (tiles, patches) => run(runtime, source, tensors, sizes, tiles, patches),
      async dispose() {
        tf.dispose([tensors.parameters, tensors.prototypes ?? [], tensors.penalty ?? []]);
      },
    };
  } catch (error) {
    throw engineFailure(runtime.engine, 'load the model', error);
  }
}

interface Found {
  /** float32 [patches, D]. */
  readonly embeddings: tf.Tensor2D;
  /** Bank rows int32 [patches, K]; absent without a bank. */
  readonly indices?: tf.Tensor2D;
}

function forward(
  source: EngineModelSource,
  tensors: LoadedTensors,
  dimension: number,
  tiles: TileBatch,
): Found {
  const side = source.geometry.tileSize;
  const samples = new Float32Array(tiles.pixels.subarray(0, tiles.count * side * side));
  const input = tf.tensor4d(samples, [tiles.count, side, side, 1]);
  const { output } = tensors.network.forward(input, tensors.parameters, 'inference');
  const embeddings = tf.reshape(output, [-1, dimension]) as tf.Tensor2D;
  if (source.search === undefined || tensors.prototypes === undefined) return { embeddings };
  let cosines: tf.Tensor = tf.clipByValue(tf.matMul(embeddings, tensors.prototypes), -1, 1);
  if (tensors.penalty !== undefined) {
    const cells = tf.tensor1d(patchCells(source, tiles), 'int32');
    cosines = tf.add(cosines, tf.gather(tensors.penalty, cells));
  }
  const { indices } = tf.topk(cosines, source.search.scoring.neighbourCount, true);
  return { embeddings, indices: indices as tf.Tensor2D };
}

async function run(
  runtime: TfjsRuntime,
  source: EngineModelSource,
  tensors: LoadedTensors,
  sizes: Pick<EngineModel, 'patchCount' | 'dimension'>,
  tiles: TileBatch,
  patches: PatchBatch,
): Promise<void> {
  if (tiles.count === 0) return;
  try {
    await makeCurrent(runtime);
    // Nothing reaches `patches` before the guard has seen that the device did all of it.
    const { embeddings, indices } = await runtime.guard(async () => {
      const found = tf.tidy(() => ({ ...forward(source, tensors, sizes.dimension, tiles) }));
      try {
        return { embeddings: await found.embeddings.data(), indices: await found.indices?.data() };
      } finally {
        tf.dispose([found.embeddings, found.indices ?? []]);
      }
    });
    patches.embeddings.set(embeddings);
    if (source.search !== undefined && indices !== undefined) {
      finishPatches(source.search, indices, tiles.count * sizes.patchCount, patches);
    }
  } catch (error) {
    throw engineFailure(runtime.engine, 'score a batch', error);
  }
}
