/** Converts a pixel format to the wire: the inverse of `header.ts`, for clients that decode files. */
import {
  ImageFormat,
  PhotometricInterpretation,
  VoiFunction,
  type VoiTransform as WireVoi,
} from '../gen/salad/v1/types.js';
import type { LookupTable } from '../imaging/pixel-format/lookup-table.js';
import type { PixelFormat, VoiTransform } from '../imaging/pixel-format/pixel-format.js';

/** @returns the message that `formatFrom` of header.ts converts to the same format */
export function imageFormatOf(format: PixelFormat): ImageFormat {
  const { modalityLut, padding } = format;
  return ImageFormat.fromPartial({
    rows: format.rows,
    columns: format.columns,
    bitsAllocated: format.bitsAllocated,
    bitsStored: format.bitsStored,
    isSigned: format.isSigned,
    photometricInterpretation: format.monochrome1
      ? PhotometricInterpretation.PHOTOMETRIC_INTERPRETATION_MONOCHROME1
      : PhotometricInterpretation.PHOTOMETRIC_INTERPRETATION_MONOCHROME2,
    ...(modalityLut === undefined
      ? { rescaleSlope: format.rescaleSlope, rescaleIntercept: format.rescaleIntercept }
      : { modalityLut: wireTable(modalityLut) }),
    voi: voiOf(format.voi),
    rowSpacingMm: format.rowSpacingMm,
    columnSpacingMm: format.columnSpacingMm,
    pixelAspectRatio: format.pixelAspectRatio,
    pixelPadding: padding,
  });
}

const VOI_FUNCTIONS = {
  linear: VoiFunction.VOI_FUNCTION_LINEAR,
  linearExact: VoiFunction.VOI_FUNCTION_LINEAR_EXACT,
  sigmoid: VoiFunction.VOI_FUNCTION_SIGMOID,
} as const;

function voiOf(voi: VoiTransform): WireVoi | undefined {
  switch (voi.kind) {
    case 'fullRange':
      return undefined;
    case 'window': {
      const { center, width } = voi;
      return {
        transform: { $case: 'window', value: { center, width, function: VOI_FUNCTIONS[voi.function] } },
      };
    }
    case 'lut':
      return { transform: { $case: 'lut', value: wireTable(voi) } };
    case 'auto': {
      const { lowPercentile, highPercentile } = voi;
      return { transform: { $case: 'auto', value: { lowPercentile, highPercentile } } };
    }
  }
}

function wireTable({ firstValue, bitsPerEntry, entries }: LookupTable) {
  return { firstValue, bitsPerEntry, entries: [...entries] };
}
