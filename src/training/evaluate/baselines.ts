/**
 * One-number baselines: single numbers of the source image that do not measure disease, such as its brightness. A model
 * must separate the classes better than each of them alone. Reports have their AUROCs in the field `floors`.
 */
import type { Box } from '../../geometry/placement.js';
import type { DecodedImage } from '../../imaging/decode/decode.js';
import { auroc } from './metrics.js';

export const BASELINES = ['meanGrey', 'blurWhole', 'blurCentre', 'fileSize'] as const;
export type Baseline = (typeof BASELINES)[number];

/**
 * meanGrey: mean grey value. blurWhole, blurCentre: mean absolute difference between rows of the whole image, and of its
 * middle half in both directions. fileSize: bytes.
 */
export type BaselineNumbers = Readonly<Record<Baseline, number>>;
/** AUROC of each number, in the direction that gives the higher AUROC. */
export type BaselineAurocs = Readonly<Record<Baseline, number>>;

function greyValues({ bitsAllocated, samples }: DecodedImage): Uint8Array | Uint16Array {
  if (bitsAllocated === 8) return samples;
  return samples.byteOffset % 2 === 0
    ? new Uint16Array(samples.buffer, samples.byteOffset, samples.byteLength / 2)
    : new Uint16Array(samples.slice().buffer);
}

/** Mean absolute difference between neighbouring rows of a region. */
function meanRowDifference(values: Uint8Array | Uint16Array, columns: number, region: Box): number {
  let sum = 0;
  for (let row = region.top + 1; row < region.bottom; row += 1) {
    for (let at = row * columns + region.left; at < row * columns + region.right; at += 1) {
      sum += Math.abs(values[at]! - values[at - columns]!);
    }
  }
  return sum / Math.max(1, (region.bottom - region.top - 1) * (region.right - region.left));
}

/** Measures all four numbers; grey values as fractions of full scale, so that bit depths can be compared. */
export function measureBaselines(image: DecodedImage, fileSize: number): BaselineNumbers {
  const { rows, columns, bitsStored } = image;
  const values = greyValues(image);
  const fullScale = 2 ** bitsStored - 1;
  let sum = 0;
  for (const value of values) sum += value;
  const top = Math.floor(rows / 4);
  const left = Math.floor(columns / 4);
  const whole = { top: 0, bottom: rows, left: 0, right: columns };
  const centre = { top, bottom: rows - top, left, right: columns - left };
  return {
    meanGrey: sum / values.length / fullScale,
    blurWhole: meanRowDifference(values, columns, whole) / fullScale,
    blurCentre: meanRowDifference(values, columns, centre) / fullScale,
    fileSize,
  };
}

interface MeasuredImage {
  readonly floors: BaselineNumbers;
}

/** AUROC of each number between two groups of images. */
export function baselineAurocs(
  normal: readonly MeasuredImage[],
  abnormal: readonly MeasuredImage[],
): BaselineAurocs {
  const of = (baseline: Baseline): number => {
    const value = auroc(
      normal.map(({ floors }) => floors[baseline]),
      abnormal.map(({ floors }) => floors[baseline]),
    );
    return Math.max(value, 1 - value);
  };
  return {
    meanGrey: of('meanGrey'),
    blurWhole: of('blurWhole'),
    blurCentre: of('blurCentre'),
    fileSize: of('fileSize'),
  };
}
