/** The arrays of a batch, and how an engine splits a batch. */
import { SaladError } from '../errors/index.js';
import { patchOfTile } from '../geometry/geometry.js';
import { inferShapes } from '../network/shapes.js';
import type { EngineModel, EngineModelSource, PatchBatch, TileBatch } from './engine.js';

/** P, D and K of a model that is not loaded. */
export function modelSizes(
  source: EngineModelSource,
): Pick<EngineModel, 'patchCount' | 'dimension' | 'neighbourCount'> {
  const output = inferShapes(source.network).get(source.network.output)!;
  return {
    patchCount: output.height * output.width,
    dimension: output.channels,
    neighbourCount: source.search?.scoring.neighbourCount ?? 0,
  };
}

/** Arrays for `count` tiles in memory of this thread. The pool has its own, in shared memory. */
export function allocatePatchBatch(
  count: number,
  model: Pick<EngineModel, 'patchCount' | 'dimension' | 'neighbourCount'>,
): PatchBatch {
  const patches = count * model.patchCount;
  return {
    scores: new Float32Array(patches),
    neighbourIndices: new Int32Array(patches * model.neighbourCount),
    neighbourDistances: new Float32Array(patches * model.neighbourCount),
    embeddings: new Float32Array(patches * model.dimension),
  };
}

/**
 * Cell of every patch of a batch in the patch grid: row * patchGrid + column, tile by tile and row by row
 * within a tile.
 */
export function patchCells(source: EngineModelSource, tiles: TileBatch): Int32Array {
  const { geometry } = source;
  const cells = new Int32Array(tiles.count * geometry.patchesPerTile);
  let at = 0;
  for (let tile = 0; tile < tiles.count; tile++) {
    const row = tiles.positions[2 * tile]!;
    const column = tiles.positions[2 * tile + 1]!;
    for (let within = 0; within < geometry.patchesPerTile; within++) {
      cells[at++] = patchOfTile(geometry, row, column, within);
    }
  }
  return cells;
}

/** Consecutive tiles of a batch. */
export interface SubBatch {
  /** Index of its first tile. */
  readonly first: number;
  readonly size: number;
}

/**
 * Splits a batch into powers of four, such as 13 tiles into 4, 4, 4 and 1: an engine that compiles its network for each
 * size then compiles few.
 */
export function* subBatchesOf(count: number, maxTiles: number): Generator<SubBatch> {
  for (let first = 0; first < count; ) {
    const size = 4 ** Math.floor(Math.log2(Math.min(count - first, maxTiles)) / 2);
    yield { first, size };
    first += size;
  }
}

/** ENGINE_FAILED with the error as its cause; a SaladError stays as it is. @param action such as "load the model" */
export function engineFailure(engine: string, action: string, error: unknown): SaladError {
  if (error instanceof SaladError) return error;
  const message = error instanceof Error ? error.message : String(error);
  return new SaladError('ENGINE_FAILED', `${engine} failed to ${action}: ${message}`, { cause: error });
}
