/** Turns a decoded image into what a modality would send: rows at detector pace, or tiles. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { AcquisitionAccepted, PixelChunk } from '../../clients/typescript/src/index.js';
import type { PixelFormat } from '../imaging/pixel-format.js';
import { WorkingImage } from '../imaging/working-image.js';
import type { Geometry } from '../model/geometry.js';
import type { InputSpec } from '../model/manifest.js';

export interface RawImage {
  readonly rows: number;
  readonly columns: number;
  readonly bitsAllocated: 8 | 16;
  /** Row by row; 16-bit samples little-endian. */
  readonly samples: Uint8Array;
}

/**
 * All rows in order, `rowsPerMessage` at a time.
 * @param rowsPerSecond detector pace; 0 sends as fast as the connection takes them.
 */
export async function* rowChunks(
  image: RawImage,
  rowsPerMessage: number,
  rowsPerSecond = 0,
): AsyncGenerator<PixelChunk, void, undefined> {
  const rowBytes = (image.columns * image.bitsAllocated) / 8;
  const started = performance.now();
  for (let firstRow = 0; firstRow < image.rows; firstRow += rowsPerMessage) {
    const end = Math.min(image.rows, firstRow + rowsPerMessage);
    if (rowsPerSecond > 0) {
      // Paced against the start, so that late timers do not add up.
      const due = started + (end / rowsPerSecond) * 1000;
      await sleep(Math.max(0, due - performance.now()));
    }
    yield {
      type: 'rows',
      rows: { firstRow, samples: image.samples.subarray(firstRow * rowBytes, end * rowBytes) },
    };
  }
}

/**
 * The tile cores of the accepted geometry, as 8-bit samples at working resolution; the resampling is the
 * server's own.
 */
export async function* tileChunks(
  image: RawImage,
  format: PixelFormat,
  accepted: AcquisitionAccepted,
  tilesPerMessage = 8,
): AsyncGenerator<PixelChunk, void, undefined> {
  const geometry = accepted.geometry;
  if (!geometry) throw new Error('the server accepted without a geometry');
  const working = resampleToWorking(image, format, geometry.workingRows);
  const size = geometry.coreSize;
  let tiles: { row: number; column: number; samples: Uint8Array }[] = [];
  for (let row = 0; row < geometry.tileRows; row++) {
    for (let column = 0; column < geometry.tileColumns; column++) {
      const samples = new Uint8Array(size * size);
      for (let y = 0; y < size; y++) {
        const start = (row * size + y) * geometry.workingColumns + column * size;
        samples.set(working.subarray(start, start + size), y * size);
      }
      tiles.push({ row, column, samples });
      if (tiles.length === tilesPerMessage) {
        yield { type: 'tiles', tiles };
        tiles = [];
      }
    }
  }
  if (tiles.length > 0) yield { type: 'tiles', tiles };
}

function resampleToWorking(image: RawImage, format: PixelFormat, size: number): Uint8Array {
  const geometry: Geometry = {
    workingSize: size,
    coreSize: size,
    haloSize: 0,
    tileSize: size,
    tilesPerSide: 1,
    patchesPerSide: 1,
    patchGrid: 1,
    patchStride: size,
    patchSize: size,
    patchOffset: 0,
  };
  const input: InputSpec = {
    workingSize: size,
    fit: 'stretch',
    intensity: { kind: 'window' },
    orientation: '',
  };
  const working = new WorkingImage(geometry, input, format, 0, 'rows');
  working.pushRows(image.samples);
  working.complete();
  return working.pixels;
}
