/** Converts the images of a request to those of ScoreImage requests. */

import { SaladError } from '../errors/index.js';
import type { ScoreImageRequest } from '../gen/salad/v1/anomaly_scoring.js';
import { AcquisitionHeader, ImageFormat } from '../gen/salad/v1/types.js';
import { checkImageSize } from '../imaging/pixel-format/pixel-format.js';
import { findWideSample, wideSampleMessage } from '../imaging/pixel-format/stored-bits.js';
import { inTurns } from '../util/turns.js';
import {
  bytesElements,
  checkBatch,
  datatypeError,
  type InputTensor,
  numberBytes,
  type Reservations,
  shapeError,
  unitFloats,
} from './input-tensors.js';
import type { RequestSettings } from './parameters.js';
import type { ModelView } from './views.js';

export interface RequestedImages {
  readonly count: number;
  /** @param index from 0 */
  image(index: number): NonNullable<ScoreImageRequest['image']>;
  /** Fields of the header's image that follow from the tensor and the parameters. */
  readonly format: ImageFormat;
}

export interface ImageInputContext {
  readonly maxImagePixels: number;
  readonly reservations: Reservations;
  readonly signal: AbortSignal;
}

const IMAGE_TYPES = ['UINT8', 'UINT16', 'INT16', 'FP32'] as const;
type ImageType = (typeof IMAGE_TYPES)[number];
const SHAPES = '[N,H,W,1], [N,1,H,W] or [H,W]';
/** FP32 in [0, 1] is scored as 16 bits. */
const UNIT = 65_535;

/** @throws SaladError TENSOR_INVALID, SAMPLE_COUNT_MISMATCH, SAMPLE_INVALID, PARAMETER_INVALID, IMAGE_TOO_LARGE, OVERLOADED */
export async function requestedImages(
  tensor: InputTensor,
  view: ModelView,
  settings: RequestSettings,
  context: ImageInputContext,
): Promise<RequestedImages> {
  const { datatype } = tensor;
  if (datatype === 'BYTES' && view.view === 'image') return encodedImages(tensor, view, settings);
  const types: readonly ImageType[] = view.view === 'image' ? IMAGE_TYPES : ['UINT8'];
  const type = types.find((each) => each === datatype);
  if (type === undefined) {
    throw datatypeError(tensor, view, view.view === 'image' ? [...types, 'BYTES'] : types);
  }
  refuseFrame(settings);
  return pixelImages(tensor, type, view, settings, context);
}

function encodedImages(tensor: InputTensor, view: ModelView, settings: RequestSettings): RequestedImages {
  const [count = 0, width = 1] = tensor.shape;
  if (tensor.shape.length < 1 || tensor.shape.length > 2 || width !== 1) {
    throw shapeError(tensor, view, '[N] or [N,1] for BYTES');
  }
  checkBatch(tensor, view, count);
  const elements = bytesElements(tensor, count);
  return {
    count,
    image: (index) => ({ $case: 'encoded', value: elements[index]! }),
    format: ImageFormat.fromPartial(settings.image),
  };
}

async function pixelImages(
  tensor: InputTensor,
  type: ImageType,
  view: ModelView,
  settings: RequestSettings,
  { maxImagePixels, reservations, signal }: ImageInputContext,
): Promise<RequestedImages> {
  const { count, rows, columns } = imageShape(tensor, view);
  checkBatch(tensor, view, count);
  checkImageSize(rows, columns, maxImagePixels);
  const pixels = rows * columns;
  let bytes = await numberBytes(tensor, type, count * pixels, reservations, signal);
  if (type === 'FP32') {
    reservations.reserve(2 * count * pixels);
    const samples = new Uint16Array(count * pixels);
    await inTurns(unitFloats(bytes, samples, UNIT, tensor.name), signal);
    bytes = new Uint8Array(samples.buffer);
  }
  const { bitsStored } = settings.image;
  if (bitsStored !== undefined) {
    const format = {
      bitsAllocated: type === 'UINT8' ? 8 : 16,
      bitsStored,
      isSigned: type === 'INT16',
    } as const;
    const wide = await inTurns(findWideSample(bytes, format), signal);
    if (wide !== undefined) {
      throw SaladError.field(
        'PARAMETER_INVALID',
        'parameters.bits_stored',
        wideSampleMessage(wide, bitsStored),
      );
    }
  }
  const imageBytes = bytes.byteLength / count;
  return {
    count,
    image: (index) => ({
      $case: 'raw',
      value: bytes.subarray(index * imageBytes, (index + 1) * imageBytes),
    }),
    format: ImageFormat.fromPartial({
      ...{ rows, columns, bitsAllocated: type === 'UINT8' ? 8 : 16, isSigned: type === 'INT16' },
      ...(type === 'FP32' ? unitFormat(settings.image) : settings.image),
    }),
  };
}

function imageShape(tensor: InputTensor, view: ModelView) {
  const { shape } = tensor;
  const isFixed = view.view === 'classify';
  const sides = sidesOf(shape);
  const size = view.model.geometry.workingSize;
  if (sides === undefined || (isFixed && (sides.rows !== size || sides.columns !== size))) {
    throw shapeError(tensor, view, isFixed ? undefined : SHAPES);
  }
  return sides;
}

function sidesOf(shape: readonly number[]) {
  const [first = 0, second = 0, third = 0, fourth = 0] = shape;
  if (shape.length === 2) return { count: 1, rows: first, columns: second };
  if (shape.length !== 4) return undefined;
  if (fourth === 1) return { count: first, rows: second, columns: third };
  return second === 1 ? { count: first, rows: third, columns: fourth } : undefined;
}

/** Windows and rescales of FP32 are in its own values: a stored value of 16 bits is 65,535 times as large. */
function unitFormat(image: RequestSettings['image']): RequestSettings['image'] {
  if (image.bitsStored !== undefined) {
    throw SaladError.field('PARAMETER_INVALID', 'parameters.bits_stored', 'FP32 has none');
  }
  const isPlain =
    image.voi === undefined && image.rescaleSlope === undefined && image.rescaleIntercept === undefined;
  return isPlain ? image : { ...image, rescaleSlope: (image.rescaleSlope ?? 1) / UNIT };
}

function refuseFrame({ frame }: RequestSettings): void {
  if (frame === undefined) return;
  throw SaladError.field('PARAMETER_INVALID', 'parameters.frame', 'only a DICOM file has frames');
}

/** The header of one image. */
export function headerOf(
  view: ModelView,
  settings: RequestSettings,
  images: RequestedImages,
  options: AcquisitionHeader['options'],
): AcquisitionHeader {
  const { model } = view;
  return AcquisitionHeader.fromPartial({
    model: { name: model.name, version: model.version },
    image: images.format,
    priority: settings.priority,
    ...(options === undefined ? {} : { options }),
  });
}
