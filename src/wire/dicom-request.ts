/** A frame of an encoded DICOM file as an acquisition. */
import type { Release, ServedModel } from '../acquisition/index.js';
import type { DicomDecoder, DicomFile } from '../dicom/decoder/dicom-decoder.js';
import type { Photometric } from '../dicom/grey-scale.js';
import { SaladError } from '../errors/index.js';
import type { ScoreImageRequest } from '../gen/salad/v1/anomaly_scoring.js';
import {
  type AcquisitionHeader,
  type DicomInstance,
  ImageFormat,
  PhotometricInterpretation,
} from '../gen/salad/v1/types.js';
import type { PixelFormat } from '../imaging/pixel-format.js';
import { type HeaderContext, type ImageRequest, requestFrom } from './header.js';
import { imageFormatOf } from './image-format.js';

export interface DicomContext extends HeaderContext {
  readonly dicom: DicomDecoder;
  /** Of the call: nothing more is decoded for it once it aborts. */
  readonly signal: AbortSignal;
}

/**
 * @param encoded a DICOM file
 * @param frame from 1; undefined: the only one
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
  const file = await ofFile(() => context.dicom.open(encoded, options));
  let release: Release = () => {};
  const reserve = (bytes: number) => {
    release();
    release = model.budget.reserveBytes(context.peer, bytes, 'decoding');
  };
  try {
    const chosen = await ofFile(async () => file.refuseUnscorable()).then(() => chooseFrame(file, frame));
    const { format, samples } = await ofFile(() => file.frame(chosen - 1, { signal, reserve }));
    reserve(samples.byteLength);
    const request = requestFrom({ ...header, image: withAnnounced(file, format, announced) }, model, context);
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
    throw SaladError.field('HEADER_INVALID', 'frame', `the file has ${frames} frames: name one`);
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
 * The format of the file, with the VOI transform of the header if there is one.
 * @throws SaladError HEADER_INVALID for other fields that differ from the file
 */
function withAnnounced({ description }: DicomFile, format: PixelFormat, announced: ImageFormat): ImageFormat {
  const own = imageFormatOf(format);
  const { bitsStored } = description.facts;
  const { voi, photometricInterpretation: _applied, ...facts } = announced;
  const empty = ImageFormat.fromPartial({});
  for (const [name, value] of Object.entries(facts)) {
    const key = name as keyof typeof facts;
    // Lossy files may use more bits than Bits Stored.
    const isOfFile = value === own[key] || (key === 'bitsStored' && value === bitsStored);
    if (value === empty[key] || isOfFile) continue;
    const why = `is ${value} in the header but ${own[key]} in the file; leave it out`;
    throw SaladError.field(
      'HEADER_INVALID',
      `header.image.${snakeCase(name)}`,
      typeof value === 'object' ? LEAVE_OUT : why,
    );
  }
  return { ...own, ...(voi === undefined ? {} : { voi }) };
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

/**
 * An error of the file of `encoded`. The violation names the field; the message does not, because people read it, and
 * what they named is a file.
 */
function fileError({ reason, message }: SaladError): SaladError {
  return new SaladError(reason, message, { fieldViolations: [{ field: 'encoded', description: message }] });
}

/** Makes errors of the file those of the field. */
export async function ofFile<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    const known = SaladError.from(error);
    const isOfFile = known.kind === 'invalidArgument' || known.reason === 'IMAGE_TOO_LARGE';
    if (known.fieldViolations.length > 0 || !isOfFile) throw known;
    throw fileError(known);
  }
}
