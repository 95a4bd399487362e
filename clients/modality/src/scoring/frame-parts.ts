/** Reads a frame from the decoder process part by part: this process holds half a megabyte of a mammogram, not 27 MB. */
import type { DicomFrameParts } from '../../../../src/dicom/decoder/dicom-file.js';
import { checkBuffers } from '../memory/collector.js';

const ROWS_PER_PART = 64;

/** Some rows of a frame. */
export interface FramePart {
  readonly firstRow: number;
  /** Exclusive. */
  readonly endRow: number;
  readonly samples: Uint8Array;
}

/** All rows in order. @throws as `DicomFrameParts.rows` */
export async function* partsOf({
  format,
  rows,
}: DicomFrameParts): AsyncGenerator<FramePart, void, undefined> {
  for (let firstRow = 0; firstRow < format.rows; firstRow += ROWS_PER_PART) {
    const endRow = Math.min(format.rows, firstRow + ROWS_PER_PART);
    const samples = await rows(firstRow, endRow);
    checkBuffers();
    yield { firstRow, endRow, samples };
  }
}
