/** Turns a whole image into an acquisition request: encoded files are decoded, and the samples are sent as rows. */
import { setImmediate as nextTurn } from 'node:timers/promises';
import type { PixelMessage, Release, ServedModel } from '../acquisition/index.js';
import { isDicom } from '../dicom/recognise.js';
import { SaladError } from '../errors/index.js';
import type { ScoreImageRequest } from '../gen/salad/v1/anomaly_scoring.js';
import { type AcquisitionHeader, ImageFormat, Source } from '../gen/salad/v1/types.js';
import { decodeImage } from '../imaging/decode/decode.js';
import { bytesPerSample, type PixelFormat } from '../imaging/pixel-format/pixel-format.js';
import { findWideSample, wideSampleMessage } from '../imaging/pixel-format/stored-bits.js';
import type { Places } from '../util/places.js';
import { inTurns } from '../util/turns.js';
import { type DicomContext, dicomRequest } from './dicom-request.js';
import { withField } from './field-error.js';
import { type ImageRequest, requestFrom } from './header.js';

/** Approximate size of a rows message, so that one large image does not delay other streams. */
const ROWS_BYTES = 256 * 1024;

export interface ImageContext extends DicomContext {
  /** Queue of PNG and JPEG files for decoding. */
  readonly decoding: Places;
}

/**
 * Checks the header and decodes the image.
 * @throws SaladError HEADER_INVALID, IMAGE_UNREADABLE, IMAGE_TOO_LARGE, SAMPLE_COUNT_MISMATCH, OVERLOADED; the reason of
 *   the signal where it aborts; for DICOM files as `dicomRequest`
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
  // Reserved before decompression: a small file may contain a large image, and many files may arrive at once.
  let release: Release = () => {};
  const reserve = (bytes: number) => {
    release = model.budget.reserveBytes(context.peer, bytes, 'decoding');
  };
  try {
    const { maxImagePixels: maxPixels, decoding: places, signal } = context;
    const image = await withField('encoded', () =>
      decodeImage(encoded, { maxPixels, reserve, places, signal }),
    );
    release();
    reserve(image.samples.byteLength);
    const announced = header.image ?? ImageFormat.fromPartial({});
    const format = {
      ...announced,
      rows: checkedValue('rows', announced.rows, image.rows),
      columns: checkedValue('columns', announced.columns, image.columns),
      bitsAllocated: checkedValue('bits_allocated', announced.bitsAllocated, image.bitsAllocated),
      bitsStored: announced.bitsStored === 0 ? image.bitsStored : announced.bitsStored,
    };
    const request = requestFrom({ ...header, image: format }, model, context);
    // A PNG or JPEG file has no overlays in its higher bits, as rows of a detector may have.
    const wide = await inTurns(findWideSample(image.samples, request.format), signal);
    if (wide !== undefined) {
      const why = wideSampleMessage(wide, request.format.bitsStored);
      throw SaladError.field('HEADER_INVALID', 'header.image.bits_stored', why);
    }
    return { request, samples: image.samples, release };
  } catch (error) {
    release();
    throw error;
  }
}

/** Returns the value of the file. The header's value must be the same, or 0. @throws SaladError HEADER_INVALID */
function checkedValue(field: string, announced: number, actual: number): number {
  if (announced !== 0 && announced !== actual) {
    const why = `is ${announced} in the header but ${actual} in the file; leave it 0`;
    throw SaladError.field('HEADER_INVALID', `header.image.${field}`, why);
  }
  return actual;
}

/** Yields the samples of an image as rows messages, with a turn of the event loop between them, and then `end`. */
export async function* rowMessages(
  format: PixelFormat,
  samples: Uint8Array,
  signal: AbortSignal,
): AsyncGenerator<PixelMessage> {
  const rowBytes = format.columns * bytesPerSample(format);
  const messageRows = Math.max(1, Math.floor(ROWS_BYTES / rowBytes));
  for (let firstRow = 0; firstRow < format.rows && !signal.aborted; firstRow += messageRows) {
    const endRow = Math.min(format.rows, firstRow + messageRows);
    yield { kind: 'rows', firstRow, samples: samples.subarray(firstRow * rowBytes, endRow * rowBytes) };
    if (endRow < format.rows) await nextTurn();
  }
  yield { kind: 'end', crc32c: undefined };
}
