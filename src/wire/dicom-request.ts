/** Turns a frame of an encoded DICOM file into an acquisition request. */
import type { Release, ServedModel } from '../acquisition/index.js';
import type { DicomDecoder } from '../dicom/decoder/dicom-decoder.js';
import type { DicomFile } from '../dicom/decoder/dicom-file.js';
import type { Photometric } from '../dicom/grey-scale.js';
import { SaladError } from '../errors/index.js';
import type { ScoreImageRequest } from '../gen/salad/v1/anomaly_scoring.js';
import {
  type AcquisitionHeader,
  type DicomInstance,
  ImageFormat,
  PhotometricInterpretation,
} from '../gen/salad/v1/types.js';
import type { PixelFormat } from '../imaging/pixel-format/pixel-format.js';
import { withField } from './field-error.js';
import { type HeaderContext, type ImageRequest, requestFrom } from './header.js';
import { imageFormatOf } from './image-format.js';

export interface DicomContext extends HeaderContext {
  readonly dicom: DicomDecoder;
  /** Aborts when the call ends; decoding stops then. */
  readonly signal: AbortSignal;
}

/**
 * Decodes a frame of a DICOM file.
 * @param encoded a DICOM file
 * @param frame from 1; undefined for a file with one frame
 * @throws SaladError HEADER_INVALID, IMAGE_UNREADABLE, DICOM_UNSUPPORTED, IMAGE_TOO_LARGE, DECODING_LIMIT_EXCEEDED,
 *   DECODER_UNAVAILABLE, OVERLOADED; the reason of the signal where it aborts
 */
export async function dicomRequest(
  encoded: Uint8Array,
  { frame }: Pick<ScoreImageRequest, 'frame'>,
  header: AcquisitionHeader,
  model: ServedModel,
  context: DicomContext,
): Promise<ImageRequest> {
  const { signal, maxImagePixels: maxPixels } = context;
  const announced = header.image ?? ImageFormat.fromPartial({});
  const photometric = photometricOf(announced);
  const options = { maxPixels, signal, ...(photometric === undefined ? {} : { photometric }) };
  const file = await withField('encoded', () => context.dicom.open(encoded, options));
  let release: Release = () => {};
  const reserve = (bytes: number) => {
    release();
    release = model.budget.reserveBytes(context.peer, bytes, 'decoding');
  };
  try {
    await withField('encoded', async () => file.refuseUnscorable());
    const chosen = chooseFrame(file, frame);
    const { format, samples } = await withField('encoded', () => file.frame(chosen - 1, { signal, reserve }));
    reserve(samples.byteLength);
    const request = requestFrom({ ...header, image: mergeFormats(file, format, announced) }, model, context);
    const instance = header.options?.dicomInstance ? wireInstance(file, chosen) : undefined;
    return { request, samples, release, ...(instance === undefined ? {} : { instance }) };
  } catch (error) {
    release();
    throw error;
  } finally {
    file.close();
  }
}

function chooseFrame({ frames }: DicomFile, frame: number | undefined): number {
  if (frame === undefined && frames === 1) return 1;
  if (frame === undefined) {
    throw SaladError.field(
      'HEADER_INVALID',
      'frame',
      `the file has ${frames} frames: set frame to one of them`,
    );
  }
  if (frame < 1 || frame > frames) {
    throw SaladError.field('HEADER_INVALID', 'frame', `must be 1 to ${frames}, is ${frame}`);
  }
  return frame;
}

function photometricOf({ photometricInterpretation }: ImageFormat): Photometric | undefined {
  switch (photometricInterpretation) {
    case PhotometricInterpretation.PHOTOMETRIC_INTERPRETATION_MONOCHROME1:
      return 'MONOCHROME1';
    case PhotometricInterpretation.PHOTOMETRIC_INTERPRETATION_MONOCHROME2:
      return 'MONOCHROME2';
    default:
      return undefined;
  }
}

/**
 * Returns the format of the file, with the VOI transform of the header if there is one.
 * @throws SaladError HEADER_INVALID where another field of the header differs from the file
 */
function mergeFormats({ description }: DicomFile, format: PixelFormat, announced: ImageFormat): ImageFormat {
  const fromFile = imageFormatOf(format);
  const { bitsStored } = description.facts;
  const { voi, photometricInterpretation: _applied, ...facts } = announced;
  const empty = ImageFormat.fromPartial({});
  for (const [name, value] of Object.entries(facts)) {
    const key = name as keyof typeof facts;
    // Lossy files may use more bits than Bits Stored.
    const isSame = value === fromFile[key] || (key === 'bitsStored' && value === bitsStored);
    if (value === empty[key] || isSame) continue;
    const why = `is ${value} in the header but ${fromFile[key]} in the file; leave it out`;
    throw SaladError.field(
      'HEADER_INVALID',
      `header.image.${snakeCase(name)}`,
      typeof value === 'object' ? LEAVE_OUT : why,
    );
  }
  return { ...fromFile, ...(voi === undefined ? {} : { voi }) };
}

const LEAVE_OUT = 'is taken from the DICOM file; leave it out';

function snakeCase(name: string): string {
  return name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}

function wireInstance({ description, frames }: DicomFile, frame: number): DicomInstance {
  const { sopInstanceUid, laterality, view } = description.instance;
  return {
    sopInstanceUid: sopInstanceUid ?? '',
    frame,
    frames,
    laterality: laterality ?? '',
    view: view ?? '',
  };
}
