/**
 * What the stored values of a radiograph mean, and the way from stored values to display values:
 * modality rescale, then VOI window or LUT, then MONOCHROME1 inversion (DICOM PS3.3 C.11.1, C.11.2, C.7.6.3.1.2).
 */
import { SaladError } from '../errors/index.js';
import {
  isPadding,
  type LookupTable,
  type ModalityFormat,
  modalityFunction,
  validateLookupTable,
  validateModality,
} from './modality.js';

/** How rescaled values become display values (DICOM PS3.3 C.11.2). */
export type VoiTransform =
  /** All values that `bitsStored` can represent, after rescale. */
  | { readonly kind: 'fullRange' }
  /** A window in rescaled units: C.11.2.1.2.1 (linear), C.11.2.1.3.2 (linearExact), C.11.2.1.3.1 (sigmoid). */
  | {
      readonly kind: 'window';
      readonly center: number;
      readonly width: number;
      readonly function: 'linear' | 'linearExact' | 'sigmoid';
    }
  /** A VOI LUT (C.11.2.1.1): `firstValue` maps to entry 0, values outside map to the first or last entry. */
  | ({ readonly kind: 'lut' } & LookupTable)
  /** Percentiles of the whole image, in [0, 100], lowPercentile < highPercentile. */
  | { readonly kind: 'auto'; readonly lowPercentile: number; readonly highPercentile: number };

/** Geometry and meaning of the samples of one image. */
export interface PixelFormat extends ModalityFormat {
  readonly rows: number;
  readonly columns: number;
  readonly bitsAllocated: 8 | 16;
  /** 1 to bitsAllocated; higher bits of a sample are ignored. */
  readonly bitsStored: number;
  /** Samples are two's complement of `bitsStored` bits. */
  readonly isSigned: boolean;
  /** The lowest display value is shown white. */
  readonly monochrome1: boolean;
  readonly voi: VoiTransform;
  /** Distance between the centres of neighbouring samples in mm. */
  readonly rowSpacingMm?: number;
  readonly columnSpacingMm?: number;
  /** Height of a sample divided by its width. Absent: that of the spacing, or 1 where there is none. */
  readonly pixelAspectRatio?: number;
}

/**
 * Stored samples (little-endian bytes) to display values in [0, 255]. Writes
 * `samples.length / (bitsAllocated / 8)` values to the start of `out`.
 */
export type DisplayTransform = (samples: Uint8Array, out: Float32Array) => void;

/** Unsigned, MONOCHROME2, no rescale, full range: what a plain PNG or a raw detector frame is. */
export function defaultPixelFormat(
  rows: number,
  columns: number,
  bitsAllocated: 8 | 16,
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
export function bytesPerSample(format: PixelFormat): 1 | 2 {
  return format.bitsAllocated === 8 ? 1 : 2;
}

/** @throws SaladError HEADER_INVALID with the field in proto names where a value is out of range. */
export function validatePixelFormat(format: PixelFormat): void {
  if (!isCount(format.rows)) invalid('rows', `must be a whole number of at least 1, is ${format.rows}`);
  if (!isCount(format.columns)) {
    invalid('columns', `must be a whole number of at least 1, is ${format.columns}`);
  }
  if (format.bitsAllocated !== 8 && format.bitsAllocated !== 16) {
    invalid('bits_allocated', `must be 8 or 16, is ${String(format.bitsAllocated)}`);
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
}

/** Height of a sample divided by its width; 1 where nothing is known of it. */
export function aspectRatioOf({ pixelAspectRatio, rowSpacingMm, columnSpacingMm }: PixelFormat): number {
  if (pixelAspectRatio !== undefined) return pixelAspectRatio;
  return rowSpacingMm === undefined || columnSpacingMm === undefined ? 1 : rowSpacingMm / columnSpacingMm;
}

function validateVoi(voi: VoiTransform): void {
  switch (voi.kind) {
    case 'fullRange':
      return;
    case 'window': {
      if (!Number.isFinite(voi.center)) invalid('voi.window.center', `must be finite, is ${voi.center}`);
      // C.11.2.1.2.1 allows a LINEAR width of 1 (a step); the other two functions divide by the width.
      const tooNarrow = voi.function === 'linear' ? voi.width < 1 : voi.width <= 0;
      if (!Number.isFinite(voi.width) || tooNarrow) {
        const bound = voi.function === 'linear' ? 'at least 1' : 'above 0';
        invalid('voi.window.width', `must be ${bound} for ${voi.function}, is ${voi.width}`);
      }
      return;
    }
    case 'lut':
      validateLookupTable('voi.lut', voi);
      return;
    case 'auto':
      if (!(voi.lowPercentile >= 0 && voi.lowPercentile < 100)) {
        invalid('voi.auto.low_percentile', `must be in [0, 100), is ${voi.lowPercentile}`);
      }
      if (!(voi.highPercentile > voi.lowPercentile && voi.highPercentile <= 100)) {
        invalid('voi.auto.high_percentile', `must be in (low_percentile, 100], is ${voi.highPercentile}`);
      }
  }
}

/**
 * The display transform as one table over all stored values, so that a pixel costs one look-up.
 * `auto` acts as the full range here: the percentiles need the whole image and are applied by its owner.
 * @throws SaladError HEADER_INVALID where the format is out of range.
 */
export function createDisplayTransform(format: PixelFormat): DisplayTransform {
  validatePixelFormat(format);
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

/** Tables of the latest formats: a detector sends thousands of images of one. At most 256 KiB each. */
const recent = new Map<string, Float32Array>();
const RECENT_MAX = 16;

function recentTable(format: PixelFormat): Float32Array {
  // A look-up table may be as long as what is made of it.
  if (format.voi.kind === 'lut' || format.modalityLut !== undefined) return displayTable(format);
  const { bitsStored, isSigned, monochrome1, rescaleSlope, rescaleIntercept, padding, voi } = format;
  const key = JSON.stringify([
    bitsStored,
    isSigned,
    monochrome1,
    rescaleSlope,
    rescaleIntercept,
    padding,
    voi,
  ]);
  const table = recent.get(key) ?? displayTable(format);
  // Put at the end: the first is the one unused for longest.
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

/** The full range of what a Modality LUT gives. */
function lutRange(table: LookupTable | undefined): ((value: number) => number) | null {
  if (table === undefined) return null;
  const scale = 255 / (2 ** table.bitsPerEntry - 1);
  return (value) => value * scale;
}

/** The range of rescaled values is linear in the stored ones: only the slope's sign matters. */
function fullRange(aboveLowest: number, span: number, slope: number): number {
  return ((slope > 0 ? aboveLowest : span - aboveLowest) * 255) / span;
}

/** Rescaled value to display value in [0, 255]; null where the full range is shown. */
function voiFunction(voi: VoiTransform): ((value: number) => number) | null {
  switch (voi.kind) {
    case 'fullRange':
    case 'auto':
      return null;
    case 'window':
      return windowFunction(voi.center, voi.width, voi.function);
    case 'lut': {
      const { entries, firstValue } = voi;
      const last = entries.length - 1;
      const scale = 255 / (2 ** voi.bitsPerEntry - 1);
      return (value) => entries[Math.min(last, Math.max(0, Math.round(value - firstValue)))]! * scale;
    }
  }
}

function windowFunction(
  center: number,
  width: number,
  kind: 'linear' | 'linearExact' | 'sigmoid',
): (value: number) => number {
  switch (kind) {
    case 'linear': {
      const low = center - 0.5 - (width - 1) / 2;
      const high = center - 0.5 + (width - 1) / 2;
      return (value) => {
        if (value <= low) return 0;
        if (value > high) return 255;
        return clampDisplay(((value - (center - 0.5)) / (width - 1) + 0.5) * 255);
      };
    }
    case 'linearExact':
      return (value) => {
        if (value <= center - width / 2) return 0;
        if (value > center + width / 2) return 255;
        return clampDisplay(((value - center) / width + 0.5) * 255);
      };
    case 'sigmoid':
      return (value) => 255 / (1 + Math.exp((-4 * (value - center)) / width));
  }
}

function clampDisplay(value: number): number {
  return Math.min(255, Math.max(0, value));
}

function isCount(value: number): boolean {
  return Number.isInteger(value) && value >= 1;
}

function isPositive(value: number): boolean {
  return Number.isFinite(value) && value > 0;
}

function invalid(field: string, description: string): never {
  throw SaladError.field('HEADER_INVALID', `header.image.${field}`, description);
}
