/**
 * Converts stored values to modality values by a look-up table, or by slope and intercept (DICOM PS3.3 C.11.1), and
 * recognises Pixel Padding (C.7.5.1.1.2).
 */
import { invalid } from './invalid-format.js';
import { type LookupTable, validateLookupTable } from './lookup-table.js';

/** Stored values from `first` to `last`, both included, are shown black whatever else is applied. */
export interface PixelPadding {
  readonly first: number;
  readonly last: number;
}

/** The modality part of a pixel format. */
export interface ModalityFormat {
  readonly rescaleSlope: number;
  readonly rescaleIntercept: number;
  /** Replaces slope and intercept, which are then 1 and 0. */
  readonly modalityLut?: LookupTable;
  readonly padding?: PixelPadding;
}

/** Returns the function from stored values to modality values. */
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
