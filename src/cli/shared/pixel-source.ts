/** Converts a decoded image into the messages that a modality would send: rows at the pace of a detector, or tiles. */
import { setTimeout as sleep } from 'node:timers/promises';
import {
  type AcquisitionAccepted,
  displayTiles,
  type PixelChunk,
  placementOf,
} from '../../../clients/typescript/src/index.js';
import { createDisplayTransform, type PixelFormat } from '../../imaging/pixel-format/pixel-format.js';
import { resampleImage } from '../../imaging/working-image/resample.js';

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
 * The image as display values at working resolution, cut into tiles: display transform and resampling are the
 * server's own, so that they score as rows do. The header must say 32 bits.
 */
export function tileChunks(
  image: RawImage,
  format: PixelFormat,
  accepted: AcquisitionAccepted,
): readonly PixelChunk[] {
  if (!accepted.geometry) throw new Error('the server accepted the acquisition without sending a geometry');
  const placement = placementOf(accepted, accepted.geometry);
  const values = new Float32Array(image.rows * image.columns);
  createDisplayTransform(format)(image.samples, values);
  const display = resampleImage(values, {
    sourceRows: image.rows,
    sourceColumns: image.columns,
    targetRows: placement.rows,
    targetColumns: placement.columns,
  });
  return [...displayTiles(accepted, display)];
}
