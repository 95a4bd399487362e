/** One synthetic acquisition, and when each of its pixels is meant to be sent. */
import { setTimeout as sleep } from 'node:timers/promises';
import {
  type AcquisitionAccepted,
  coreShape,
  type Geometry,
  type PixelChunk,
} from '../../typescript/src/index.js';

export interface Workload {
  readonly mode: 'rows' | 'tiles';
  /** Side of the square source image in rows mode; in tiles mode the model's working size is used. */
  readonly size: number;
  /** 8-bit samples, size * size; tiles are cut from it by wrapping around. */
  readonly pixels: Uint8Array;
  readonly tilesPerMessage: number;
  readonly rowsPerMessage: number;
  /** Time over which the pixels of one acquisition are sent evenly; 0 sends at once. */
  readonly acquisitionMs: number;
}

/** The chunks of one acquisition at their intended times, counted from `intendedStart`. */
export async function* paced(
  workload: Workload,
  accepted: AcquisitionAccepted,
  intendedStart: number,
): AsyncGenerator<PixelChunk, void, undefined> {
  const geometry = accepted.geometry;
  if (!geometry) throw new Error('the server accepted without a geometry');
  for (const { share, chunk } of workload.mode === 'rows'
    ? rowChunks(workload)
    : tileChunks(workload, geometry)) {
    if (workload.acquisitionMs > 0) {
      const wait = intendedStart + share * workload.acquisitionMs - performance.now();
      if (wait > 1) await sleep(wait);
    }
    yield chunk;
  }
}

interface TimedChunk {
  /** Share of the acquisition's pixels sent with this chunk and before it, in (0, 1]. */
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
 * Share of the acquisition that must have been sent before each tile (row by row) can be scored: its core
 * and the neighbours its halo reaches into.
 */
export function readyShares(workload: Workload, geometry: Geometry, beforeLastPixel: boolean): Float64Array {
  const shares = new Float64Array(geometry.tileRows * geometry.tileColumns).fill(1);
  if (!beforeLastPixel) return shares;
  const core = coreShape(geometry);
  const reach = {
    down: Math.ceil(geometry.haloSize / core.rows),
    across: Math.ceil(geometry.haloSize / core.columns),
  };
  for (let row = 0; row < geometry.tileRows; row++) {
    for (let column = 0; column < geometry.tileColumns; column++) {
      let share: number;
      if (workload.mode === 'rows') {
        const lastRow = Math.min(geometry.workingRows, (row + 1) * geometry.coreSize + geometry.haloSize);
        share = lastRow / geometry.workingRows;
      } else {
        const lastTileRow = Math.min(geometry.tileRows - 1, row + reach.down);
        const lastTileColumn = Math.min(geometry.tileColumns - 1, column + reach.across);
        share = (lastTileRow * geometry.tileColumns + lastTileColumn + 1) / shares.length;
      }
      shares[row * geometry.tileColumns + column] = share;
    }
  }
  return shares;
}
