/** Arrays an engine writes to, and sizes shared by all engines. */
import { SaladError } from '../errors/index.js';
import { patchOfTile } from '../geometry/geometry.js';
import { inferShapes } from '../network/shapes.js';
import type { EngineModel, EngineModelSource, PatchBatch, TileBatch } from './engine.js';

/** P, D and K of a model, without loading it. */
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

/** Arrays for `count` tiles, private to this thread; the pool makes its own over shared memory. */
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

/** Part of a batch. */
export interface Piece {
  /** Its first tile. */
  readonly first: number;
  readonly size: number;
}

/** What a batch is run in: powers of four, so 13 tiles as three times 4 and 1. Each size is a compilation. */
export function* piecesOf(count: number, maxTiles: number): Generator<Piece> {
  for (let first = 0; first < count; ) {
    const size = 4 ** Math.floor(Math.log2(Math.min(count - first, maxTiles)) / 2);
    yield { first, size };
    first += size;
  }
}

/** Anything an engine threw, as ENGINE_FAILED with its cause kept. */
export function engineFailure(engine: string, doing: string, error: unknown): SaladError {
  if (error instanceof SaladError) return error;
  const message = error instanceof Error ? error.message : String(error);
  return new SaladError('ENGINE_FAILED', `${engine} failed to ${doing}: ${message}`, { cause: error });
}
