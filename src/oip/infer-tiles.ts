/** The tiles of one request: pieces of working images, scored without an image that they belong to. */
import { scoreTiles } from '../acquisition/index.js';
import type { PriorityClass } from '../batching/index.js';
import { Priority } from '../gen/salad/v1/types.js';
import { inTurns } from '../util/turns.js';
import { tensorOf } from './encoded-tensor.js';
import type { ImageContext, InferResult } from './infer-images.js';
import {
  checkBatch,
  datatypeError,
  type InputTensor,
  numberBytes,
  shapeError,
  unitFloats,
} from './input-tensors.js';
import { OUTPUT_COPIES } from './output-tensors.js';
import type { RequestSettings } from './parameters.js';
import { InferFacts } from './response.js';
import type { ModelView } from './views.js';

/** @throws SaladError of any reason the tiles, the request or the load give */
export async function inferTiles(
  [tile, position]: readonly InputTensor[],
  view: ModelView,
  { priority }: RequestSettings,
  names: readonly string[],
  context: ImageContext,
): Promise<InferResult> {
  const { model } = view;
  const { signal, peer, deadline, answer } = context;
  const count = tileCount(tile!, position!, view);
  answer.reserve(OUTPUT_COPIES * count * model.geometry.patchesPerTile * Float32Array.BYTES_PER_ELEMENT);
  const facts = new InferFacts(count);
  const trace = context.startTrace(model.key);
  try {
    const pixels = await tilePixels(tile!, view, count, context);
    const positions = await tilePositions(position!, view, count, context);
    facts.inputEnded();
    const request = { peer, priority: classOf(priority), deadline, tag: trace.tag, pixels, positions };
    const { scores, engines, timings } = await scoreTiles(model, request, signal);
    facts.scoredTiles(engines, timings.queueMs);
    trace.tilesScored({ engines: [...engines], coverage: allScored(scores.length), timings });
    facts.outputStarted();
    const shape = [count, model.geometry.patchesPerTile];
    const outputs = names.map((name) => tensorOf(name, 'FP32', shape, scores));
    trace.ended();
    return { outputs, facts };
  } catch (error) {
    trace.ended(error);
    throw error;
  }
}

/** All or none: a tile that cannot be scored fails the request. */
function allScored(patches: number) {
  return { scored: patches, skipped: 0, failed: 0, missing: 0 };
}

function tileCount(tile: InputTensor, position: InputTensor, view: ModelView): number {
  const { tileHeight, tileWidth } = view.model.geometry;
  const [count = 0, height, width, channels] = tile.shape;
  const isTile = height === tileHeight && width === tileWidth && channels === 1 && tile.shape.length === 4;
  if (!isTile) throw shapeError(tile, view);
  checkBatch(tile, view, count);
  if (position.shape.length !== 2 || position.shape[0] !== count || position.shape[1] !== 2) {
    throw shapeError(position, view, `[${count},2]`);
  }
  return count;
}

/** uint8 [count, tileHeight, tileWidth]. */
async function tilePixels(
  tile: InputTensor,
  view: ModelView,
  count: number,
  { reservations, signal }: ImageContext,
): Promise<Uint8Array> {
  const values = count * view.model.geometry.tilePixels;
  const { datatype } = tile;
  if (datatype !== 'UINT8' && datatype !== 'FP32') throw datatypeError(tile, view, ['UINT8', 'FP32']);
  const bytes = await numberBytes(tile, datatype, values, reservations, signal);
  if (datatype === 'UINT8') return bytes;
  reservations.reserve(values);
  const pixels = new Uint8Array(values);
  await inTurns(unitFloats(bytes, pixels, 255, tile.name), signal);
  return pixels;
}

async function tilePositions(
  position: InputTensor,
  view: ModelView,
  count: number,
  { reservations, signal }: ImageContext,
): Promise<Int32Array> {
  if (position.datatype !== 'INT32') throw datatypeError(position, view, ['INT32']);
  const bytes = await numberBytes(position, 'INT32', 2 * count, reservations, signal);
  // A copy: raw contents lie in the message wherever they come, and int32 values must be aligned.
  return new Int32Array(Uint8Array.from(bytes).buffer);
}

function classOf(priority: Priority): PriorityClass {
  if (priority === Priority.PRIORITY_STAT) return 'stat';
  return priority === Priority.PRIORITY_BACKGROUND ? 'background' : 'routine';
}
