/**
 * The meaning of stored values, and their conversion to display values: modality rescale, then VOI window or LUT, then
 * MONOCHROME1 inversion (DICOM PS3.3 C.11.1, C.11.2, C.7.6.3.1.2).
 */
import { SaladError } from '../../errors/index.js';
import { invalid } from './invalid-format.js';
import type { LookupTable } from './lookup-table.js';
import { isPadding, type ModalityFormat, modalityFunction, validateModality } from './modality.js';
import { type VoiTransform, validateVoi, voiFunction } from './voi.js';

export type { VoiTransform } from './voi.js';

/** Geometry and meaning of the samples of one image. */
export interface PixelFormat extends ModalityFormat {
  readonly rows: number;
  readonly columns: number;
  /**
   * 8 and 16: stored values. 32: display values in [0, 255] as float32, only for tiles: a client resamples after the
   * display transform, as the server does with rows, and the results are not whole numbers.
   */
  readonly bitsAllocated: 8 | 16 | 32;
  /** 1 to bitsAllocated; higher bits of a sample are ignored. With 32: bits of the values before the display transform. */
  readonly bitsStored: number;
  /** Samples are two's complement of `bitsStored` bits. */
  readonly isSigned: boolean;
  /** Whether the lowest display value is shown white. */
  readonly monochrome1: boolean;
  readonly voi: VoiTransform;
  /** Distance between the centres of neighbouring samples in mm. */
  readonly rowSpacingMm?: number;
  readonly columnSpacingMm?: number;
  /** Height of a sample divided by its width. Absent: the ratio of the spacings, or 1 without them. */
  readonly pixelAspectRatio?: number;
}

/**
 * Converts stored samples (little-endian bytes) to display values in [0, 255]. Writes
 * `samples.length / (bitsAllocated / 8)` values to the start of `out`.
 */
export type DisplayTransform = (samples: Uint8Array, out: Float32Array) => void;

/** The format of a PNG file or a raw detector frame: unsigned, MONOCHROME2, no rescale, full range. */
export function defaultPixelFormat(
  rows: number,
  columns: number,
  bitsAllocated: 8 | 16 | 32,
  bitsStored: number = bitsAllocated,
): PixelFormat {
  return {
    rows,
    columns,
    bitsAllocated,
    bitsStored,
    isSigned: false,
    monochrome1: false,
    rescaleSlope: 1,
    rescaleIntercept: 0,
    voi: { kind: 'fullRange' },
  };
}

/** Bytes of one sample as it is sent. */
export function bytesPerSample({ bitsAllocated }: PixelFormat): number {
  return bitsAllocated / 8;
}

/** Most rows, and columns, of a source image: DICOM's (0028,0010) and (0028,0011) are unsigned 16-bit numbers. */
export const SIDE_MAX = 65_535;

/** @throws SaladError IMAGE_TOO_LARGE where a side is above SIDE_MAX or the image has more than `maxPixels`. */
export function checkImageSize(rows: number, columns: number, maxPixels: number): void {
  if (rows > SIDE_MAX || columns > SIDE_MAX) {
    throw new SaladError(
      'IMAGE_TOO_LARGE',
      `${rows} rows of ${columns} columns: at most ${SIDE_MAX} of each`,
    );
  }
  if (rows * columns > maxPixels) {
    throw new SaladError(
      'IMAGE_TOO_LARGE',
      `${rows} rows of ${columns} columns exceed the limit of ${maxPixels} pixels`,
    );
  }
}

/** @throws SaladError HEADER_INVALID with the field in proto names where a value is out of range. */
export function validatePixelFormat(format: PixelFormat): void {
  for (const side of ['rows', 'columns'] as const) {
    if (!isCount(format[side]) || format[side] > SIDE_MAX) {
      invalid(side, `must be a whole number from 1 to ${SIDE_MAX}, is ${format[side]}`);
    }
  }
  if (![8, 16, 32].includes(format.bitsAllocated)) {
    invalid('bits_allocated', `must be 8, 16 or, of tiles, 32; is ${String(format.bitsAllocated)}`);
  }
  if (!isCount(format.bitsStored) || format.bitsStored > format.bitsAllocated) {
    invalid('bits_stored', `must be 1 to bits_allocated (${format.bitsAllocated}), is ${format.bitsStored}`);
  }
  validateModality(format);
  if (format.rowSpacingMm !== undefined && !isPositive(format.rowSpacingMm)) {
    invalid('row_spacing_mm', `must be above 0, is ${format.rowSpacingMm}`);
  }
  if (format.columnSpacingMm !== undefined && !isPositive(format.columnSpacingMm)) {
    invalid('column_spacing_mm', `must be above 0, is ${format.columnSpacingMm}`);
  }
  if (format.pixelAspectRatio !== undefined && !isPositive(format.pixelAspectRatio)) {
    invalid('pixel_aspect_ratio', `must be above 0, is ${format.pixelAspectRatio}`);
  }
  validateVoi(format.voi);
  if (format.bitsAllocated === 32) validateDisplayValues(format);
}

/** Height of a sample divided by its width; 1 if neither the ratio nor the spacings are known. */
export function aspectRatioOf({ pixelAspectRatio, rowSpacingMm, columnSpacingMm }: PixelFormat): number {
  if (pixelAspectRatio !== undefined) return pixelAspectRatio;
  return rowSpacingMm === undefined || columnSpacingMm === undefined ? 1 : rowSpacingMm / columnSpacingMm;
}

/** Refuses all settings of the conversion to display values, which the client has applied already. */
function validateDisplayValues(format: PixelFormat): void {
  const why = 'must be absent: samples of 32 bits are display values';
  if (format.bitsStored > 16 && format.bitsStored !== 32) {
    invalid(
      'bits_stored',
      'must be 0 to 16 for samples of 32 bits: the bits of the values before the display transform',
    );
  }
  if (format.isSigned) invalid('is_signed', why);
  if (format.monochrome1) invalid('photometric_interpretation', `${why}, in which black is 0`);
  if (format.rescaleSlope !== 1) invalid('rescale_slope', why);
  if (format.rescaleIntercept !== 0) invalid('rescale_intercept', why);
  if (format.modalityLut !== undefined) invalid('modality_lut', why);
  if (format.padding !== undefined) invalid('pixel_padding', why);
  if (format.voi.kind === 'window' || format.voi.kind === 'lut') invalid(`voi.${format.voi.kind}`, why);
}

/**
 * Builds the display transform as one table over all stored values, so that a pixel needs one look-up.
 * `auto` gives the full range here: the percentiles need the whole image, and the caller applies them.
 * @throws SaladError HEADER_INVALID where the format is out of range.
 */
export function createDisplayTransform(format: PixelFormat): DisplayTransform {
  validatePixelFormat(format);
  if (format.bitsAllocated === 32) return readDisplayValues;
  const table = recentTable(format);
  const mask = table.length - 1;
  if (format.bitsAllocated === 8) {
    return (samples, out) => {
      for (let i = 0; i < samples.length; i++) out[i] = table[samples[i]! & mask]!;
    };
  }
  return (samples, out) => {
    const count = samples.length >> 1;
    for (let i = 0, at = 0; i < count; i++, at += 2) {
      out[i] = table[(samples[at]! | (samples[at + 1]! << 8)) & mask]!;
    }
  };
}

/** Tolerance outside of [0, 255]: weights of a filter add up to 1 except for rounding errors. */
const ROUNDING = 0.5;

/** @throws SaladError SAMPLE_INVALID; the content of `out` is undefined then */
function readDisplayValues(samples: Uint8Array, out: Float32Array): void {
  const view = new DataView(samples.buffer, samples.byteOffset, samples.byteLength);
  for (let i = 0, at = 0; at + 4 <= samples.length; i++, at += 4) {
    const value = view.getFloat32(at, true);
    if (!(value >= -ROUNDING && value <= 255 + ROUNDING)) {
      throw new SaladError('SAMPLE_INVALID', `sample ${i} is ${value}: display values are from 0 to 255`);
    }
    out[i] = value;
  }
}

/** Difference in display values between neighbouring stored values, over the full range. */
export function displayLevel({ bitsStored }: PixelFormat): number {
  return 255 / (2 ** Math.min(16, bitsStored) - 1);
}

/** Bytes of memory for the display transform of a format. */
export function displayTableBytes({ bitsAllocated, bitsStored, modalityLut, voi }: PixelFormat): number {
  if (bitsAllocated === 32) return 0;
  // The entries of a look-up table of the header are numbers while they are checked, and have 16 bits each afterwards.
  const entries = (voi.kind === 'lut' ? voi.entries.length : 0) + (modalityLut?.entries.length ?? 0);
  return 4 * 2 ** bitsStored + 24 * entries;
}

/** Tables of the latest formats, at most 256 KiB each: a detector sends thousands of images with one format. */
const recent = new Map<string, Float32Array>();
const RECENT_MAX = 16;

function recentTable(format: PixelFormat): Float32Array {
  // The key of a format with a look-up table could be as long as the table itself, so such tables are not cached.
  if (format.voi.kind === 'lut' || format.modalityLut !== undefined) return displayTable(format);
  const { bitsStored, isSigned, monochrome1, rescaleSlope, rescaleIntercept, padding, voi } = format;
  const values = [bitsStored, isSigned, monochrome1, rescaleSlope, rescaleIntercept, padding, voi];
  const key = JSON.stringify(values);
  const table = recent.get(key) ?? displayTable(format);
  // Moved to the end, so that the first entry is the one that was not used for the longest time.
  recent.delete(key);
  recent.set(key, table);
  if (recent.size > RECENT_MAX) recent.delete(recent.keys().next().value!);
  return table;
}

/** Display value in [0, 255] of every bit pattern of `bitsStored` bits. */
function displayTable(format: PixelFormat): Float32Array {
  const size = 2 ** format.bitsStored;
  const lowest = format.isSigned ? -size / 2 : 0;
  const modality = modalityFunction(format);
  const voi = voiFunction(format.voi) ?? lutRange(format.modalityLut);
  const table = new Float32Array(size);
  for (let bits = 0; bits < size; bits++) {
    const stored = bits < lowest + size ? bits : bits - size;
    if (isPadding(format.padding, stored)) continue;
    const display = voi ? voi(modality(stored)) : fullRange(stored - lowest, size - 1, format.rescaleSlope);
    table[bits] = format.monochrome1 ? 255 - display : display;
  }
  return table;
}

/** Maps the full output range of a Modality LUT to display values. */
function lutRange(table: LookupTable | undefined): ((value: number) => number) | null {
  if (table === undefined) return null;
  const scale = 255 / (2 ** table.bitsPerEntry - 1);
  return (value) => value * scale;
}

/** Maps the full range of stored values to display values. Rescaling is linear: only the sign of the slope matters. */
function fullRange(aboveLowest: number, span: number, slope: number): number {
  return ((slope > 0 ? aboveLowest : span - aboveLowest) * 255) / span;
}

function isCount(value: number): boolean {
  return Number.isInteger(value) && value >= 1;
}

function isPositive(value: number): boolean {
  return Number.isFinite(value) && value > 0;
}
