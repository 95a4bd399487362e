/** Converts a header of the wire to an acquisition request. Errors name the field as the proto does. */
import type { AcquisitionOptions, AcquisitionRequest, Release, ServedModel } from '../acquisition/index.js';
import { SaladError } from '../errors/index.js';
import {
  type AcquisitionHeader,
  AnomalyMapFormat,
  type DicomInstance,
  EarlyEnd,
  type ImageFormat,
  PhotometricInterpretation,
  Priority,
  type ScoringOptions,
  Source,
  VoiFunction,
  type VoiTransform as WireVoi,
} from '../gen/salad/v1/types.js';
import type { LookupTable } from '../imaging/pixel-format/lookup-table.js';
import {
  type PixelFormat,
  SIDE_MAX,
  type VoiTransform,
  validatePixelFormat,
} from '../imaging/pixel-format/pixel-format.js';
import { minFalsePositiveRate } from '../scoring/calibration.js';

/** False-positive rate where the header names none. */
const FALSE_POSITIVE_RATE = 0.05;
const TOP_PATCHES = 5;
/** In Unicode code points: an emoji counts as one, although its JavaScript length is two. */
const ACQUISITION_ID_LENGTH_MAX = 64;
const TOP_PATCHES_MAX = 100;
/** The same limit as in a manifest. */
const MODEL_NAME_LENGTH_MAX = 63;

export interface HeaderContext {
  readonly maxImagePixels: number;
  /** Milliseconds of the batcher's clock; Infinity without one. */
  readonly deadline: number;
  /** Key by which limits count the acquisition. */
  readonly peer: string;
}

/** The request for a whole image, with its samples. */
export interface ImageRequest {
  readonly request: AcquisitionRequest;
  /** All samples, row by row, little-endian. */
  readonly samples: Uint8Array;
  /** Releases the memory reserved for the decoded image. */
  readonly release: Release;
  /** Identification of a DICOM instance, where it was requested. */
  readonly instance?: DicomInstance;
}

/** @throws SaladError HEADER_INVALID */
export function checkAcquisitionId(header: AcquisitionHeader): void {
  const { acquisitionId } = header;
  // A code point has at most two UTF-16 units; the code points of a much longer text are not counted, to save time.
  const isShort = acquisitionId.length <= 2 * ACQUISITION_ID_LENGTH_MAX;
  const length = isShort ? [...acquisitionId].length : acquisitionId.length;
  if (length < 1 || length > ACQUISITION_ID_LENGTH_MAX) {
    const actual = isShort ? String(length) : 'more';
    throw invalid('acquisition_id', `must have 1 to ${ACQUISITION_ID_LENGTH_MAX} characters, has ${actual}`);
  }
}

/** @throws SaladError HEADER_INVALID */
export function checkModelName(name: string, field: string): void {
  if (name === '') throw SaladError.field('HEADER_INVALID', field, 'is missing');
  if (name.length > MODEL_NAME_LENGTH_MAX) {
    const why = `must have 1 to ${MODEL_NAME_LENGTH_MAX} characters, has ${name.length}`;
    throw SaladError.field('HEADER_INVALID', field, why);
  }
}

/** @throws SaladError HEADER_INVALID naming the field, IMAGE_TOO_LARGE */
export function requestFrom(
  header: AcquisitionHeader,
  model: ServedModel,
  context: HeaderContext,
): AcquisitionRequest {
  const source = sourceFrom(header.source);
  return {
    peer: context.peer,
    acquisitionId: header.acquisitionId,
    format: formatFrom(header.image, source, context.maxImagePixels),
    source,
    priority: priorityFrom(header.priority),
    options: optionsFrom(header.options, model),
    deadline: context.deadline,
  };
}

function invalid(field: string, description: string): SaladError {
  return SaladError.field('HEADER_INVALID', `header.${field}`, description);
}

function formatFrom(
  image: ImageFormat | undefined,
  source: 'rows' | 'tiles',
  maxPixels: number,
): PixelFormat {
  if (image === undefined) throw invalid('image', 'is missing');
  const { rows, columns, bitsAllocated } = image;
  for (const side of ['rows', 'columns'] as const) {
    if (image[side] > SIDE_MAX) throw tooLarge(side, `is ${image[side]}; the maximum is ${SIDE_MAX}`);
  }
  if (rows * columns > maxPixels) {
    throw tooLarge('rows', `${rows} x ${columns} pixels exceed the server's limit of ${maxPixels}`);
  }
  if (bitsAllocated !== 8 && bitsAllocated !== 16 && !(bitsAllocated === 32 && source === 'tiles')) {
    throw invalid('image.bits_allocated', `must be 8 or 16, or 32 for tiles; is ${bitsAllocated}`);
  }
  const format: PixelFormat = {
    rows,
    columns,
    bitsAllocated,
    bitsStored: image.bitsStored === 0 ? bitsAllocated : image.bitsStored,
    isSigned: image.isSigned,
    monochrome1: isMonochrome1(image.photometricInterpretation),
    rescaleSlope: image.rescaleSlope ?? 1,
    rescaleIntercept: image.rescaleIntercept ?? 0,
    ...modalityFrom(image),
    voi: voiFrom(image.voi),
    ...(image.rowSpacingMm === undefined ? {} : { rowSpacingMm: image.rowSpacingMm }),
    ...(image.columnSpacingMm === undefined ? {} : { columnSpacingMm: image.columnSpacingMm }),
    ...(image.pixelAspectRatio === undefined ? {} : { pixelAspectRatio: image.pixelAspectRatio }),
  };
  validatePixelFormat(format);
  return compact(format);
}

function tooLarge(side: 'rows' | 'columns', description: string): SaladError {
  return SaladError.field('IMAGE_TOO_LARGE', `header.image.${side}`, description);
}

/** Stores the entries of look-up tables in 16 bits each, after the check that they fit; as numbers they need eight bytes. */
function compact(format: PixelFormat): PixelFormat {
  const { voi, modalityLut } = format;
  return {
    ...format,
    ...(modalityLut === undefined ? {} : { modalityLut: compactTable(modalityLut) }),
    ...(voi.kind === 'lut' ? { voi: compactTable(voi) } : {}),
  };
}

function compactTable<T extends LookupTable>(table: T): T {
  return { ...table, entries: Uint16Array.from(table.entries) };
}

function modalityFrom({ modalityLut, pixelPadding }: ImageFormat): Partial<PixelFormat> {
  return {
    ...(modalityLut === undefined ? {} : { modalityLut }),
    ...(pixelPadding === undefined ? {} : { padding: pixelPadding }),
  };
}

function isMonochrome1(value: PhotometricInterpretation): boolean {
  switch (value) {
    case PhotometricInterpretation.PHOTOMETRIC_INTERPRETATION_MONOCHROME1:
      return true;
    case PhotometricInterpretation.PHOTOMETRIC_INTERPRETATION_UNSPECIFIED:
    case PhotometricInterpretation.PHOTOMETRIC_INTERPRETATION_MONOCHROME2:
      return false;
    default:
      throw invalid('image.photometric_interpretation', `is no known value: ${value}`);
  }
}

function voiFrom(voi: WireVoi | undefined): VoiTransform {
  const transform = voi?.transform;
  if (transform === undefined) return { kind: 'fullRange' };
  switch (transform.$case) {
    case 'window': {
      const { center, width } = transform.value;
      return { kind: 'window', center, width, function: voiFunctionFrom(transform.value.function) };
    }
    case 'lut':
      return { kind: 'lut', ...transform.value };
    case 'auto':
      return {
        kind: 'auto',
        lowPercentile: transform.value.lowPercentile ?? 1,
        highPercentile: transform.value.highPercentile ?? 99,
      };
  }
}

function voiFunctionFrom(value: VoiFunction): 'linear' | 'linearExact' | 'sigmoid' {
  switch (value) {
    case VoiFunction.VOI_FUNCTION_UNSPECIFIED:
    case VoiFunction.VOI_FUNCTION_LINEAR:
      return 'linear';
    case VoiFunction.VOI_FUNCTION_LINEAR_EXACT:
      return 'linearExact';
    case VoiFunction.VOI_FUNCTION_SIGMOID:
      return 'sigmoid';
    default:
      throw invalid('image.voi.window.function', `is no known value: ${value}`);
  }
}

function sourceFrom(value: Source): 'rows' | 'tiles' {
  if (value === Source.SOURCE_ROWS) return 'rows';
  if (value === Source.SOURCE_TILES) return 'tiles';
  throw invalid('source', 'must be SOURCE_ROWS or SOURCE_TILES');
}

function priorityFrom(value: Priority): AcquisitionRequest['priority'] {
  switch (value) {
    case Priority.PRIORITY_STAT:
      return 'stat';
    case Priority.PRIORITY_UNSPECIFIED:
    case Priority.PRIORITY_ROUTINE:
      return 'routine';
    case Priority.PRIORITY_BACKGROUND:
      return 'background';
    default:
      throw invalid('priority', `is no known value: ${value}`);
  }
}

function optionsFrom(options: ScoringOptions | undefined, model: ServedModel): AcquisitionOptions {
  // The default of a model with few calibration images is the lowest rate that it can keep; the aggregate contains it.
  const lowest = minFalsePositiveRate(model.manifest.calibration);
  const rate = options?.maxFalsePositiveRate ?? Math.max(FALSE_POSITIVE_RATE, lowest);
  if (!(rate > 0 && rate < 1))
    throw invalid('options.max_false_positive_rate', `must be in (0, 1), is ${rate}`);
  const nearest = options?.nearestPrototypes ?? 0;
  const { neighbourCount } = model.manifest.scoring;
  if (nearest > neighbourCount) {
    throw invalid('options.nearest_prototypes', `must be 0 to the model's ${neighbourCount}, is ${nearest}`);
  }
  const topPatches = options?.topPatches ?? TOP_PATCHES;
  if (topPatches > TOP_PATCHES_MAX) {
    throw invalid('options.top_patches', `must be 0 to ${TOP_PATCHES_MAX}, is ${topPatches}`);
  }
  return {
    patchScores: options?.patchScores ?? true,
    anomalyMap: anomalyMapFrom(options?.anomalyMap ?? AnomalyMapFormat.ANOMALY_MAP_FORMAT_NONE),
    embeddings: options?.embeddings ?? false,
    nearestPrototypes: nearest,
    maxFalsePositiveRate: rate,
    earlyEnd: earlyEndFrom(options?.earlyEnd ?? EarlyEnd.EARLY_END_FAIL),
    topPatches,
  };
}

function anomalyMapFrom(value: AnomalyMapFormat): AcquisitionOptions['anomalyMap'] {
  switch (value) {
    case AnomalyMapFormat.ANOMALY_MAP_FORMAT_UNSPECIFIED:
    case AnomalyMapFormat.ANOMALY_MAP_FORMAT_NONE:
      return 'none';
    case AnomalyMapFormat.ANOMALY_MAP_FORMAT_PNG_OVERLAY:
      return 'pngOverlay';
    case AnomalyMapFormat.ANOMALY_MAP_FORMAT_FLOAT32:
      return 'float32';
    default:
      throw invalid('options.anomaly_map', `is no known value: ${value}`);
  }
}

function earlyEndFrom(value: EarlyEnd): AcquisitionOptions['earlyEnd'] {
  switch (value) {
    case EarlyEnd.EARLY_END_UNSPECIFIED:
    case EarlyEnd.EARLY_END_FAIL:
      return 'fail';
    case EarlyEnd.EARLY_END_PARTIAL:
      return 'partial';
    default:
      throw invalid('options.early_end', `is no known value: ${value}`);
  }
}
