/** A model on a tfjs backend: encoder and search of the bank as one graph, the same for every backend. */
import * as tf from '@tensorflow/tfjs-core';
import type { Weights } from '../../network/description.js';
import { foldBatchNorm } from '../../network/fold-batch-norm.js';
import { buildTfjs, type TfjsNetwork, tfjsParameters } from '../../network/tfjs/build.js';
import { searchWindow } from '../../scoring/memory-bank.js';
import { chunksOf } from '../../scoring/search-plan.js';
import { engineFailure, modelSizes, patchCells } from '../batch.js';
import type { EngineModel, EngineModelSource, EngineName, PatchBatch, TileBatch } from '../engine.js';
import { type PreparedSearch, prepareSearch } from '../search/prepare.js';

/** The tfjs backend of an engine. It has been started, so that making it current again takes no time. */
export interface TfjsRuntime {
  readonly engine: EngineName;
  /** tfjs' name of it. */
  readonly backend: string;
  /** Runs `work` and throws errors that the device reported meanwhile; not re-entrant. */
  guard<T>(work: () => Promise<T>): Promise<T>;
}

/** Consecutive rows of the bank, on the backend. */
interface BankChunk {
  readonly firstRow: number;
  readonly rows: number;
  /** float32 [D, rows]. */
  readonly prototypes: tf.Tensor2D;
  /** float32 [cells, rows]: 0 inside the search window, -4 outside (any cosine falls below -2 with it). */
  readonly penalty: tf.Tensor2D | undefined;
}

/** The network and its tensors on the backend while a model is loaded. */
interface LoadedTensors {
  readonly network: TfjsNetwork;
  readonly parameters: Record<string, tf.Tensor>;
  /** In row order; empty where the graph has no search. */
  readonly chunks: readonly BankChunk[];
}

/** Copies the weights: a bundle is in shared memory, and not every backend accepts views of it. */
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

/** Columns `from` to `to` of the window [cells, rows], as penalties (see BankChunk). */
function penalties(window: Uint8Array, rows: number, cells: number, from: number, to: number): Float32Array {
  const out = new Float32Array(cells * (to - from));
  let at = 0;
  for (let cell = 0; cell < cells; cell++) {
    for (let row = from; row < to; row++) out[at++] = window[cell * rows + row] === 1 ? 0 : -4;
  }
  return out;
}

/**
 * Makes the backend current: new tensors go to it. A thread may have several backends, because engines are checked one
 * after another.
 */
async function makeCurrent({ backend }: TfjsRuntime): Promise<void> {
  if (tf.getBackend() === backend) return;
  if (!(await tf.setBackend(backend))) throw new Error(`tfjs' ${backend} backend cannot be made current`);
}

/**
 * On the processor a graph that compares every patch with the whole bank is slower than this program, which compares it
 * with its window, where the bank has more than this many times the rows of a window.
 */
const WASM_ROWS_RATIO_MAX = 16;

function withSearchLimits({ engine }: TfjsRuntime, source: EngineModelSource): EngineModelSource {
  const { search } = source;
  if (search === undefined || engine !== 'wasm') return source;
  const options = { graphRowsRatioMax: WASM_ROWS_RATIO_MAX, ...search.options };
  return { ...source, search: { ...search, options } };
}

/** @throws SaladError ENGINE_FAILED where the model cannot be built on the backend. */
export async function loadTfjsModel(runtime: TfjsRuntime, source: EngineModelSource): Promise<EngineModel> {
  const sizes = modelSizes(source);
  try {
    await makeCurrent(runtime);
    const search = await prepareSearch(withSearchLimits(runtime, source));
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

interface ForwardResult {
  /** float32 [patches, D]. */
  readonly embeddings: tf.Tensor2D;
  /** For every chunk its best rows, counted within the chunk: int32 [patches, up to K]. Empty without a search. */
  readonly candidates: tf.Tensor2D[];
  /** With several chunks: the K best columns of all candidates side by side, int32 [patches, K]. */
  readonly bestColumns?: tf.Tensor2D;
}

function forward(
  source: EngineModelSource,
  tensors: LoadedTensors,
  dimension: number,
  tiles: TileBatch,
): ForwardResult {
  const { tileHeight, tileWidth, tilePixels } = source.geometry;
  const samples = new Float32Array(tiles.pixels.subarray(0, tiles.count * tilePixels));
  const input = tf.tensor4d(samples, [tiles.count, tileHeight, tileWidth, 1]);
  const { output } = tensors.network.forward(input, tensors.parameters, 'inference');
  const embeddings = tf.reshape(output, [-1, dimension]) as tf.Tensor2D;
  if (source.search === undefined) return { embeddings, candidates: [] };
  const cells = tf.tensor1d(patchCells(source, tiles), 'int32');
  const { neighbourCount } = source.search.scoring;
  const nearest = tensors.chunks.map((chunk) => nearestOfChunk(chunk, embeddings, cells, neighbourCount));
  const candidates = nearest.map((chunk) => chunk.indices);
  if (nearest.length === 1) return { embeddings, candidates };
  // Chunks are in row order and topk prefers the lower column, so ties go to the lowest row.
  const similarities = tf.concat(
    nearest.map((chunk) => chunk.similarities),
    1,
  );
  const { indices: bestColumns } = tf.topk(similarities, neighbourCount, true);
  return { embeddings, candidates, bestColumns: bestColumns as tf.Tensor2D };
}

/** The nearest rows of one chunk: similarities [patches, up to K], best first, and their rows within the chunk. */
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
 * Bank rows [patches, K] of the candidates in `bestColumns`. Computed here, because the gather of tfjs' wasm backend
 * has no batch dimensions.
 */
async function bankRows(
  { candidates, bestColumns }: ForwardResult,
  chunks: readonly BankChunk[],
): Promise<Int32Array | undefined> {
  const rowsByChunk = await Promise.all(candidates.map((tensor) => tensor.data() as Promise<Int32Array>));
  if (bestColumns === undefined) return rowsByChunk[0];
  const widths = candidates.map((tensor) => tensor.shape[1]);
  const chunkOfColumn = widths.flatMap((width, chunk) => new Array<number>(width).fill(chunk));
  const firstColumns = widths.map((_, chunk) => chunkOfColumn.indexOf(chunk));
  const [, k] = bestColumns.shape;
  return ((await bestColumns.data()) as Int32Array).map((column, at) => {
    const chunk = chunkOfColumn[column]!;
    const patch = Math.floor(at / k);
    const rowInChunk = rowsByChunk[chunk]![patch * widths[chunk]! + column - firstColumns[chunk]!]!;
    return chunks[chunk]!.firstRow + rowInChunk;
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
    // `patches` is written only after the guard has checked that the device reported no error.
    const { embeddings, indices } = await runtime.guard(async () => {
      const result = tf.tidy(() => ({ ...forward(search.graph, tensors, sizes.dimension, tiles) }));
      try {
        const rows = await bankRows(result, tensors.chunks);
        return { embeddings: await result.embeddings.data(), indices: rows };
      } finally {
        tf.dispose([result.embeddings, result.candidates, result.bestColumns ?? []]);
      }
    });
    patches.embeddings.set(embeddings);
    search.score(tiles, indices, patches);
  } catch (error) {
    throw engineFailure(runtime.engine, 'score a batch', error);
  }
}
