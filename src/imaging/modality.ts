/**
 * From stored values to modality values (DICOM PS3.3 C.11.1): a look-up table, or slope and intercept. And what of the
 * stored values is no picture: Pixel Padding (C.7.5.1.1.2).
 */
import { SaladError } from '../errors/index.js';

/** `firstValue` maps to entry 0, lower values too; values beyond the last entry map to it. */
export interface LookupTable {
  /** A whole number; may be negative. */
  readonly firstValue: number;
  /** 8 to 16; entries are 0 to 2^bitsPerEntry - 1. */
  readonly bitsPerEntry: number;
  /** 1 to 65,536 of them. */
  readonly entries: Uint16Array | readonly number[];
}

/** Stored values from `first` to `last`, both included, are shown black whatever else is applied. */
export interface PixelPadding {
  readonly first: number;
  readonly last: number;
}

/** The part of a pixel format that this file is about. */
export interface ModalityFormat {
  readonly rescaleSlope: number;
  readonly rescaleIntercept: number;
  /** Instead of slope and intercept, which are then 1 and 0. */
  readonly modalityLut?: LookupTable;
  readonly padding?: PixelPadding;
}

/** Stored value to modality value. */
export function modalityFunction(format: ModalityFormat): (stored: number) => number {
  const { rescaleSlope, rescaleIntercept, modalityLut } = format;
  if (modalityLut === undefined) return (stored) => rescaleSlope * stored + rescaleIntercept;
  const { entries, firstValue } = modalityLut;
  const last = entries.length - 1;
  return (stored) => entries[Math.min(last, Math.max(0, stored - firstValue))]!;
}

export function isPadding(padding: PixelPadding | undefined, stored: number): boolean {
  return padding !== undefined && stored >= padding.first && stored <= padding.last;
}

/**
 * @param field of the header the table came in, for the error
 * @throws SaladError HEADER_INVALID where a table is out of range
 */
export function validateLookupTable(field: string, table: LookupTable): void {
  const { firstValue, bitsPerEntry, entries } = table;
  if (!Number.isInteger(firstValue)) {
    invalid(`${field}.first_value`, `must be a whole number, is ${firstValue}`);
  }
  if (!Number.isInteger(bitsPerEntry) || bitsPerEntry < 8 || bitsPerEntry > 16) {
    invalid(`${field}.bits_per_entry`, `must be 8 to 16, is ${bitsPerEntry}`);
  }
  if (entries.length < 1 || entries.length > 65_536) {
    invalid(`${field}.entries`, `must have 1 to 65536 entries, has ${entries.length}`);
  }
  const largest = 2 ** bitsPerEntry - 1;
  for (let i = 0; i < entries.length; i++) {
    const entry = entries[i]!;
    if (!Number.isInteger(entry) || entry < 0 || entry > largest) {
      invalid(`${field}.entries`, `entry ${i} must be 0 to ${largest}, is ${entry}`);
    }
  }
}

/** @throws SaladError HEADER_INVALID naming the field */
export function validateModality(format: ModalityFormat): void {
  const { modalityLut, padding, rescaleSlope, rescaleIntercept } = format;
  if (!Number.isFinite(rescaleSlope) || rescaleSlope === 0) {
    invalid('rescale_slope', `must be finite and not 0, is ${rescaleSlope}`);
  }
  if (!Number.isFinite(rescaleIntercept)) {
    invalid('rescale_intercept', `must be finite, is ${rescaleIntercept}`);
  }
  if (modalityLut !== undefined) {
    if (rescaleSlope !== 1 || rescaleIntercept !== 0) {
      invalid('modality_lut', 'must be absent where there is a rescale slope or intercept');
    }
    validateLookupTable('modality_lut', modalityLut);
  }
  if (padding !== undefined) {
    const { first, last } = padding;
    if (!Number.isInteger(first) || !Number.isInteger(last) || first > last) {
      invalid('pixel_padding', `must be whole numbers in ascending order, is ${first} to ${last}`);
    }
  }
}

function invalid(field: string, description: string): never {
  throw SaladError.field('HEADER_INVALID', `header.image.${field}`, description);
}
