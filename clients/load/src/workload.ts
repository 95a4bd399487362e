/** One synthetic acquisition and the schedule of sending its pixels. */
import { setTimeout as sleep } from 'node:timers/promises';
import {
  type AcquisitionAccepted,
  coreShape,
  type Geometry,
  type PixelChunk,
} from '../../typescript/src/index.js';

export interface Workload {
  readonly mode: 'rows' | 'tiles';
  /** Side of the square source image in rows mode, in pixels; in tiles mode the model's working size is used. */
  readonly size: number;
  /** 8-bit samples, size * size. Tile i takes its samples from position i * (samples of a core), modulo the length. */
  readonly pixels: Uint8Array;
  readonly tilesPerMessage: number;
  readonly rowsPerMessage: number;
  /** Time over which the pixels of one acquisition are sent evenly; 0 sends all at once. */
  readonly acquisitionMs: number;
}

/** @throws Error if the server sent no geometry */
export function geometryOf({ geometry }: AcquisitionAccepted): Geometry {
  if (!geometry) throw new Error('the server accepted the acquisition without sending a geometry');
  return geometry;
}

/**
 * Yields the chunks of one acquisition at their scheduled times.
 * @param scheduledMs scheduled start, in ms of `performance.now`
 */
export async function* pacedChunks(
  workload: Workload,
  accepted: AcquisitionAccepted,
  scheduledMs: number,
): AsyncGenerator<PixelChunk, void, undefined> {
  const geometry = geometryOf(accepted);
  for (const { share, chunk } of workload.mode === 'rows'
    ? rowChunks(workload)
    : tileChunks(workload, geometry)) {
    if (workload.acquisitionMs > 0) {
      const waitMs = scheduledMs + share * workload.acquisitionMs - performance.now();
      if (waitMs > 1) await sleep(waitMs);
    }
    yield chunk;
  }
}

interface TimedChunk {
  /** Share of the acquisition's pixels sent up to and including this chunk, in (0, 1]. */
  readonly share: number;
  readonly chunk: PixelChunk;
}

function* rowChunks({ size, pixels, rowsPerMessage }: Workload): Generator<TimedChunk> {
  for (let firstRow = 0; firstRow < size; firstRow += rowsPerMessage) {
    const end = Math.min(size, firstRow + rowsPerMessage);
    const samples = pixels.subarray(firstRow * size, end * size);
    yield { share: end / size, chunk: { type: 'rows', rows: { firstRow, samples } } };
  }
}

function* tileChunks({ pixels, tilesPerMessage }: Workload, geometry: Geometry): Generator<TimedChunk> {
  const { rows, columns } = coreShape(geometry);
  const bytes = rows * columns;
  const total = geometry.tileRows * geometry.tileColumns;
  for (let first = 0; first < total; first += tilesPerMessage) {
    const end = Math.min(total, first + tilesPerMessage);
    const tiles = [];
    for (let index = first; index < end; index++) {
      const offset = (index * bytes) % Math.max(1, pixels.length - bytes);
      tiles.push({
        row: Math.floor(index / geometry.tileColumns),
        column: index % geometry.tileColumns,
        samples: pixels.subarray(offset, offset + bytes),
      });
    }
    yield { share: end / total, chunk: { type: 'tiles', tiles } };
  }
}

/**
 * Computes for each tile (row by row) the share of the acquisition that must have been sent before the tile can be
 * scored: its core, and the neighbours that its halo overlaps.
 */
export function readyShares(workload: Workload, geometry: Geometry, beforeLastPixel: boolean): Float64Array {
  const shares = new Float64Array(geometry.tileRows * geometry.tileColumns).fill(1);
  if (!beforeLastPixel) return shares;
  const core = coreShape(geometry);
  const haloTiles = {
    rows: Math.ceil(geometry.haloSize / core.rows),
    columns: Math.ceil(geometry.haloSize / core.columns),
  };
  for (let row = 0; row < geometry.tileRows; row++) {
    for (let column = 0; column < geometry.tileColumns; column++) {
      let share: number;
      if (workload.mode === 'rows') {
        const lastRow = Math.min(geometry.workingRows, (row + 1) * geometry.coreSize + geometry.haloSize);
        share = lastRow / geometry.workingRows;
      } else {
        const lastTileRow = Math.min(geometry.tileRows - 1, row + haloTiles.rows);
        const lastTileColumn = Math.min(geometry.tileColumns - 1, column + haloTiles.columns);
        share = (lastTileRow * geometry.tileColumns + lastTileColumn + 1) / shares.length;
      }
      shares[row * geometry.tileColumns + column] = share;
    }
  }
  return shares;
}
