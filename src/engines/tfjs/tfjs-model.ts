/** A model on a tfjs backend: encoder and neighbour search as one graph, the same for every backend. */
import * as tf from '@tensorflow/tfjs-core';
import type { Weights } from '../../network/description.js';
import { foldBatchNorm } from '../../network/fold-batch-norm.js';
import { buildTfjs, type TfjsNetwork, tfjsParameters } from '../../network/tfjs/build.js';
import { searchWindow } from '../../scoring/memory-bank.js';
import { chunksOf } from '../../scoring/search-plan.js';
import { engineFailure, modelSizes, patchCells } from '../batch.js';
import type { EngineModel, EngineModelSource, EngineName, PatchBatch, TileBatch } from '../engine.js';
import { type PreparedSearch, prepareSearch } from '../search/prepare.js';

/** The tfjs backend an engine stands on. It has been started, so that making it current again is instant. */
export interface TfjsRuntime {
  readonly engine: EngineName;
  /** As tfjs knows it. */
  readonly backend: string;
  /** Runs work and throws what the device reported meanwhile; not re-entrant. */
  guard<T>(work: () => Promise<T>): Promise<T>;
}

/** Some rows of the bank, on the backend. */
interface BankChunk {
  readonly firstRow: number;
  readonly rows: number;
  /** float32 [D, rows]. */
  readonly prototypes: tf.Tensor2D;
  /** float32 [cells, rows]: 0 inside the search window, -4 outside (any cosine falls below -2 with it). */
  readonly penalty: tf.Tensor2D | undefined;
}

/** What lives on the backend while a model is loaded. */
interface LoadedTensors {
  readonly network: TfjsNetwork;
  readonly parameters: Record<string, tf.Tensor>;
  /** In row order; none where the graph has no search. */
  readonly chunks: readonly BankChunk[];
}

/** A bundle lies in shared memory, of which not every backend takes views. */
function unsharedWeights(weights: Weights): Weights {
  return new Map([...weights].map(([name, { shape, data }]) => [name, { shape, data: data.slice() }]));
}

function loadTensors({ graph, chunkRows }: PreparedSearch): LoadedTensors {
  const folded = foldBatchNorm(graph.network, graph.weights);
  const network = buildTfjs(folded.network);
  const parameters = tfjsParameters(unsharedWeights(folded.weights));
  if (graph.search === undefined) return { network, parameters, chunks: [] };
  const { bank, scoring } = graph.search;
  const { patchGrid } = graph.geometry;
  const window =
    scoring.searchRadius === null ? undefined : searchWindow(bank, patchGrid, scoring.searchRadius);
  const cells = patchGrid * patchGrid;
  const chunks = chunksOf(bank.rows, chunkRows).map(({ from, to }): BankChunk => {
    const rows = to - from;
    const prototypes = bank.prototypes.slice(from * bank.dimension, to * bank.dimension);
    return {
      firstRow: from,
      rows,
      prototypes: tf.tidy(() => tf.transpose(tf.tensor2d(prototypes, [rows, bank.dimension]))) as tf.Tensor2D,
      penalty: window && tf.tensor2d(penalties(window, bank.rows, cells, from, to), [cells, rows]),
    };
  });
  return { network, parameters, chunks };
}

function penalties(window: Uint8Array, rows: number, cells: number, from: number, to: number): Float32Array {
  const out = new Float32Array(cells * (to - from));
  let at = 0;
  for (let cell = 0; cell < cells; cell++) {
    for (let row = from; row < to; row++) out[at++] = window[cell * rows + row] === 1 ? 0 : -4;
  }
  return out;
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
    const search = await prepareSearch(source);
    const tensors = loadTensors(search);
    return {
      ...sizes,
      search: search.description,
      precision: 'float32',
      run: (tiles, patches) => run(runtime, search, tensors, sizes, tiles, patches),
      async dispose() {
        const bank = tensors.chunks.flatMap(({ prototypes, penalty }) => [prototypes, penalty ?? []]);
        tf.dispose([tensors.parameters, bank]);
      },
    };
  } catch (error) {
    throw engineFailure(runtime.engine, 'load the model', error);
  }
}

interface Found {
  /** float32 [patches, D]. */
  readonly embeddings: tf.Tensor2D;
  /** The best of every chunk, within it: int32 [patches, up to K] each; none without a search. */
  readonly candidates: tf.Tensor2D[];
  /** Where several chunks were searched: the best K of all candidates side by side, int32 [patches, K]. */
  readonly places?: tf.Tensor2D;
}

function forward(
  source: EngineModelSource,
  tensors: LoadedTensors,
  dimension: number,
  tiles: TileBatch,
): Found {
  const { tileHeight, tileWidth, tilePixels } = source.geometry;
  const samples = new Float32Array(tiles.pixels.subarray(0, tiles.count * tilePixels));
  const input = tf.tensor4d(samples, [tiles.count, tileHeight, tileWidth, 1]);
  const { output } = tensors.network.forward(input, tensors.parameters, 'inference');
  const embeddings = tf.reshape(output, [-1, dimension]) as tf.Tensor2D;
  if (source.search === undefined) return { embeddings, candidates: [] };
  const cells = tf.tensor1d(patchCells(source, tiles), 'int32');
  const { neighbourCount } = source.search.scoring;
  const found = tensors.chunks.map((chunk) => nearestOfChunk(chunk, embeddings, cells, neighbourCount));
  const candidates = found.map((chunk) => chunk.indices);
  if (found.length === 1) return { embeddings, candidates };
  // The chunks stand in row order and topk prefers the lower place: ties go to the lowest row.
  const similarities = tf.concat(
    found.map((chunk) => chunk.similarities),
    1,
  );
  const { indices: places } = tf.topk(similarities, neighbourCount, true);
  return { embeddings, candidates, places: places as tf.Tensor2D };
}

/** Of one chunk: similarities [patches, up to K], best first, and their rows within the chunk. */
function nearestOfChunk(
  chunk: BankChunk,
  embeddings: tf.Tensor2D,
  cells: tf.Tensor1D,
  neighbourCount: number,
): { readonly similarities: tf.Tensor2D; readonly indices: tf.Tensor2D } {
  let cosines: tf.Tensor = tf.clipByValue(tf.matMul(embeddings, chunk.prototypes), -1, 1);
  if (chunk.penalty !== undefined) cosines = tf.add(cosines, tf.gather(chunk.penalty, cells));
  const { values, indices } = tf.topk(cosines, Math.min(neighbourCount, chunk.rows), true);
  return { similarities: values as tf.Tensor2D, indices: indices as tf.Tensor2D };
}

/**
 * Bank rows [patches, K] of what the device found. The rows of the places are taken here: tfjs' wasm backend
 * gathers without batch dimensions.
 */
async function bankRows(
  { candidates, places }: Found,
  chunks: readonly BankChunk[],
): Promise<Int32Array | undefined> {
  const found = await Promise.all(candidates.map((tensor) => tensor.data() as Promise<Int32Array>));
  if (places === undefined) return found[0];
  const widths = candidates.map((tensor) => tensor.shape[1]);
  const chunkOfPlace = widths.flatMap((width, chunk) => new Array<number>(width).fill(chunk));
  const firstPlaces = widths.map((_, chunk) => chunkOfPlace.indexOf(chunk));
  const [, k] = places.shape;
  return ((await places.data()) as Int32Array).map((place, at) => {
    const chunk = chunkOfPlace[place]!;
    const patch = Math.floor(at / k);
    return chunks[chunk]!.firstRow + found[chunk]![patch * widths[chunk]! + place - firstPlaces[chunk]!]!;
  });
}

async function run(
  runtime: TfjsRuntime,
  search: PreparedSearch,
  tensors: LoadedTensors,
  sizes: Pick<EngineModel, 'dimension'>,
  tiles: TileBatch,
  patches: PatchBatch,
): Promise<void> {
  if (tiles.count === 0) return;
  try {
    await makeCurrent(runtime);
    // Nothing reaches `patches` before the guard has seen that the device did all of it.
    const { embeddings, indices } = await runtime.guard(async () => {
      const found = tf.tidy(() => ({ ...forward(search.graph, tensors, sizes.dimension, tiles) }));
      try {
        const rows = await bankRows(found, tensors.chunks);
        return { embeddings: await found.embeddings.data(), indices: rows };
      } finally {
        tf.dispose([found.embeddings, found.candidates, found.places ?? []]);
      }
    });
    patches.embeddings.set(embeddings);
    search.finish(tiles, indices, patches);
  } catch (error) {
    throw engineFailure(runtime.engine, 'score a batch', error);
  }
}
