/** What the acquisitions of a run send, and the schedule of sending it. */
import { setTimeout as sleep } from 'node:timers/promises';
import {
  type AcquisitionAccepted,
  coreShape,
  type Geometry,
  type ImageData,
  type ImageFormatInput,
  type PixelChunk,
  type Priority,
} from '../../typescript/src/index.js';

/** One kind of acquisition. */
export interface LoadKind {
  readonly model: { readonly name: string; readonly version?: number };
  readonly workload: Workload | FileWorkload;
  /** @default routine */
  readonly priority?: Priority;
  /** Share of this kind in all acquisitions, relative to the weights of the other kinds. @default 1 */
  readonly weight?: number;
}

/** Real images, sent in turn. */
export interface FileWorkload {
  /** `image`: one call a file with the whole image; `rows`: as a detector sends it, raw images only. */
  readonly mode: 'image' | 'rows';
  readonly files: readonly LoadFile[];
  readonly rowsPerMessage: number;
  /** In mode `rows`, the time over which the rows of one acquisition are sent evenly; 0 sends all at once. */
  readonly acquisitionMs: number;
}

export interface LoadFile {
  /** For the list of requests. */
  readonly name: string;
  readonly data: ImageData;
  /** Required for raw samples. */
  readonly format?: ImageFormatInput;
}

export function isFileWorkload(workload: Workload | FileWorkload): workload is FileWorkload {
  return 'files' in workload;
}

/** A synthetic image, the same in every acquisition. */
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
  const { size, pixels } = workload;
  const image = { rows: size, rowBytes: size, samples: pixels };
  const chunks =
    workload.mode === 'rows' ? rowChunks(image, workload.rowsPerMessage) : tileChunks(workload, geometry);
  yield* paced(chunks, workload.acquisitionMs, scheduledMs);
}

/**
 * Yields the rows of one raw image at their scheduled times.
 * @param scheduledMs scheduled start, in ms of `performance.now`
 * @throws Error if the file has no raw samples with a format
 */
export async function* pacedRows(
  { rowsPerMessage, acquisitionMs }: FileWorkload,
  { name, data, format }: LoadFile,
  scheduledMs: number,
): AsyncGenerator<PixelChunk, void, undefined> {
  if (!('raw' in data) || !format?.rows) throw new Error(`${name}: rows need raw samples and their format`);
  const image = { rows: format.rows, rowBytes: data.raw.byteLength / format.rows, samples: data.raw };
  yield* paced(rowChunks(image, rowsPerMessage), acquisitionMs, scheduledMs);
}

async function* paced(
  chunks: Iterable<TimedChunk>,
  acquisitionMs: number,
  scheduledMs: number,
): AsyncGenerator<PixelChunk, void, undefined> {
  for (const { share, chunk } of chunks) {
    if (acquisitionMs > 0) {
      const waitMs = scheduledMs + share * acquisitionMs - performance.now();
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

interface RowImage {
  readonly rows: number;
  readonly rowBytes: number;
  readonly samples: Uint8Array;
}

function* rowChunks({ rows, rowBytes, samples }: RowImage, rowsPerMessage: number): Generator<TimedChunk> {
  for (let firstRow = 0; firstRow < rows; firstRow += rowsPerMessage) {
    const end = Math.min(rows, firstRow + rowsPerMessage);
    const part = samples.subarray(firstRow * rowBytes, end * rowBytes);
    yield { share: end / rows, chunk: { type: 'rows', rows: { firstRow, samples: part } } };
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
export function readyShares(
  mode: Workload['mode'] | FileWorkload['mode'],
  geometry: Geometry,
  beforeLastPixel: boolean,
): Float64Array {
  const shares = new Float64Array(geometry.tileRows * geometry.tileColumns).fill(1);
  if (!beforeLastPixel || mode === 'image') return shares;
  const core = coreShape(geometry);
  const haloTiles = {
    rows: Math.ceil(geometry.haloSize / core.rows),
    columns: Math.ceil(geometry.haloSize / core.columns),
  };
  for (let row = 0; row < geometry.tileRows; row++) {
    for (let column = 0; column < geometry.tileColumns; column++) {
      let share: number;
      if (mode === 'rows') {
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
