/** Converts rescaled values to display values (DICOM PS3.3 C.11.2). */
import { invalid } from './invalid-format.js';
import { type LookupTable, validateLookupTable } from './lookup-table.js';

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

/** @throws SaladError HEADER_INVALID with the field in proto names where a value is out of range. */
export function validateVoi(voi: VoiTransform): void {
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

/** Returns the function from rescaled values to display values in [0, 255]; null where the full range is shown. */
export function voiFunction(voi: VoiTransform): ((value: number) => number) | null {
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
