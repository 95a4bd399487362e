/** A whole image as an acquisition: decoded where encoded, then fed as rows. */
import { setImmediate as nextTurn } from 'node:timers/promises';
import type { PixelMessage, Release, ServedModel } from '../acquisition/index.js';
import { isDicom } from '../dicom/recognise.js';
import { SaladError } from '../errors/index.js';
import type { ScoreImageRequest } from '../gen/salad/v1/anomaly_scoring.js';
import { type AcquisitionHeader, ImageFormat, Source } from '../gen/salad/v1/types.js';
import { decodeImage } from '../imaging/decode/decode.js';
import type { DecodeQueue } from '../imaging/decode/queue.js';
import { bytesPerSample, type PixelFormat } from '../imaging/pixel-format.js';
import { type DicomContext, dicomRequest, ofFile } from './dicom-request.js';
import { type ImageRequest, requestFrom } from './header.js';

/** Rows are pushed in pieces of about this size, so that one big image does not hold up the other streams. */
const CHUNK_BYTES = 256 * 1024;

export interface ImageContext extends DicomContext {
  /** Where PNG and JPEG files wait for decoding. */
  readonly decoding: DecodeQueue;
}

/**
 * @throws SaladError HEADER_INVALID, IMAGE_UNREADABLE, IMAGE_TOO_LARGE, SAMPLE_COUNT_MISMATCH, OVERLOADED; the reason of
 *   the signal where it aborts; of DICOM files as `dicomRequest`
 */
export async function imageRequestFrom(
  message: ScoreImageRequest,
  header: AcquisitionHeader,
  model: ServedModel,
  context: ImageContext,
): Promise<ImageRequest> {
  const rowsHeader = { ...header, source: Source.SOURCE_ROWS };
  switch (message.image?.$case) {
    case 'raw': {
      refuseFrame(message);
      const request = requestFrom(rowsHeader, model, context);
      const { rows, columns } = request.format;
      const expected = rows * columns * bytesPerSample(request.format);
      const samples = message.image.value;
      if (samples.byteLength !== expected) {
        const why = `must have ${expected} bytes for ${rows} x ${columns} samples, has ${samples.byteLength}`;
        throw SaladError.field('SAMPLE_COUNT_MISMATCH', 'raw', why);
      }
      return { request, samples, release: () => {} };
    }
    case 'encoded':
      if (isDicom(message.image.value)) {
        return dicomRequest(message.image.value, message, rowsHeader, model, context);
      }
      refuseFrame(message);
      return decodedRequest(message.image.value, rowsHeader, model, context);
    case undefined:
      throw SaladError.field('IMAGE_UNREADABLE', 'image', 'neither encoded nor raw is set');
  }
}

function refuseFrame({ frame }: ScoreImageRequest): void {
  if (frame === undefined) return;
  throw SaladError.field('HEADER_INVALID', 'frame', 'must be absent: only a DICOM file has frames');
}

async function decodedRequest(
  encoded: Uint8Array,
  header: AcquisitionHeader,
  model: ServedModel,
  context: ImageContext,
): Promise<ImageRequest> {
  // Before decompression: a small file may hold a large image, and many of them may come at once.
  let release: Release = () => {};
  const reserve = (bytes: number) => {
    release = model.budget.reserveBytes(context.peer, bytes, 'decoding');
  };
  try {
    const { maxImagePixels: maxPixels, decoding: queue, signal } = context;
    const image = await ofFile(() => decodeImage(encoded, { maxPixels, reserve, queue, signal }));
    release();
    reserve(image.samples.byteLength);
    const announced = header.image ?? ImageFormat.fromPartial({});
    const format = {
      ...announced,
      rows: fromFile('rows', announced.rows, image.rows),
      columns: fromFile('columns', announced.columns, image.columns),
      bitsAllocated: fromFile('bits_allocated', announced.bitsAllocated, image.bitsAllocated),
      bitsStored: announced.bitsStored === 0 ? image.bitsStored : announced.bitsStored,
    };
    const request = requestFrom({ ...header, image: format }, model, context);
    return { request, samples: image.samples, release };
  } catch (error) {
    release();
    throw error;
  }
}

/** 0 leaves it to the file; anything else must agree with it. */
function fromFile(field: string, announced: number, actual: number): number {
  if (announced !== 0 && announced !== actual) {
    const why = `is ${announced} in the header but ${actual} in the file; leave it 0`;
    throw SaladError.field('HEADER_INVALID', `header.image.${field}`, why);
  }
  return actual;
}

/** Yields to the event loop between pieces. */
export async function* rowChunks(
  format: PixelFormat,
  samples: Uint8Array,
  signal: AbortSignal,
): AsyncGenerator<PixelMessage> {
  const rowBytes = format.columns * bytesPerSample(format);
  const chunkRows = Math.max(1, Math.floor(CHUNK_BYTES / rowBytes));
  for (let firstRow = 0; firstRow < format.rows && !signal.aborted; firstRow += chunkRows) {
    const lastRow = Math.min(format.rows, firstRow + chunkRows);
    yield { kind: 'rows', firstRow, samples: samples.subarray(firstRow * rowBytes, lastRow * rowBytes) };
    if (lastRow < format.rows) await nextTurn();
  }
  yield { kind: 'end', crc32c: undefined };
}
