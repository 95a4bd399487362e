/** Converts a decoded image into the messages that a modality would send: rows at the pace of a detector, or tiles. */
import { setTimeout as sleep } from 'node:timers/promises';
import {
  type AcquisitionAccepted,
  coreShape,
  type PixelChunk,
} from '../../../clients/typescript/src/index.js';
import { geometryOf } from '../../geometry/geometry.js';
import type { InputSpec } from '../../geometry/specifications.js';
import type { PixelFormat } from '../../imaging/pixel-format.js';
import { WorkingImage } from '../../imaging/working-image.js';

export interface RawImage {
  readonly rows: number;
  readonly columns: number;
  readonly bitsAllocated: 8 | 16;
  /** Row by row; 16-bit samples little-endian. */
  readonly samples: Uint8Array;
}

/**
 * Yields all rows in order, `rowsPerMessage` at a time.
 * @param rowsPerSecond pace of the detector; 0 sends as fast as the connection accepts rows
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
      // Waits relative to the start, so that the delays of late timers do not add up.
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
 * Yields the tile cores of the accepted geometry as 8-bit samples at working resolution, resampled by the server's
 * own code.
 */
export async function* tileChunks(
  image: RawImage,
  format: PixelFormat,
  accepted: AcquisitionAccepted,
  tilesPerMessage = 8,
): AsyncGenerator<PixelChunk, void, undefined> {
  const geometry = accepted.geometry;
  if (!geometry) throw new Error('the server accepted the acquisition without sending a geometry');
  const working = resampleToWorking(image, format, geometry.workingRows);
  const { rows, columns } = coreShape(geometry);
  let tiles: { row: number; column: number; samples: Uint8Array }[] = [];
  for (let row = 0; row < geometry.tileRows; row++) {
    for (let column = 0; column < geometry.tileColumns; column++) {
      const samples = new Uint8Array(rows * columns);
      for (let y = 0; y < rows; y++) {
        const start = (row * rows + y) * geometry.workingColumns + column * columns;
        samples.set(working.subarray(start, start + columns), y * columns);
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
  const input: InputSpec = {
    workingSize: size,
    fit: 'stretch',
    intensity: { kind: 'window' },
    orientation: '',
  };
  const tiling = { coreSize: size, haloSize: 0, patchesPerSide: 1, patchStride: size, patchSize: size };
  const geometry = geometryOf(input, { ...tiling, patchOffset: 0, minStd: 0 });
  const working = new WorkingImage(geometry, input, format, 0, 'rows');
  working.pushRows(image.samples);
  working.complete();
  return working.pixels;
}
