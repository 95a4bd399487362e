/**
 * Floors: single numbers of the source image that do not measure disease. A model must separate the classes better than
 * each of them alone.
 */
import type { DecodedImage } from '../../imaging/decode/decode.js';
import { auroc } from './metrics.js';

export const FLOORS = ['meanGrey', 'blurWhole', 'blurCentre', 'fileSize'] as const;
export type Floor = (typeof FLOORS)[number];

/** Mean grey value, mean absolute difference between rows (whole image, and its middle half both ways), bytes. */
export type FloorNumbers = Readonly<Record<Floor, number>>;
/** AUROC of each number, in its better direction. */
export type FloorAurocs = Readonly<Record<Floor, number>>;

function valuesOf({ bitsAllocated, samples }: DecodedImage): Uint8Array | Uint16Array {
  if (bitsAllocated === 8) return samples;
  return samples.byteOffset % 2 === 0
    ? new Uint16Array(samples.buffer, samples.byteOffset, samples.byteLength / 2)
    : new Uint16Array(samples.slice().buffer);
}

/** Mean absolute difference between neighbouring rows of a part of the image. */
function verticalDifference(
  values: Uint8Array | Uint16Array,
  columns: number,
  part: { readonly top: number; readonly bottom: number; readonly left: number; readonly right: number },
): number {
  let sum = 0;
  for (let row = part.top + 1; row < part.bottom; row += 1) {
    for (let at = row * columns + part.left; at < row * columns + part.right; at += 1) {
      sum += Math.abs(values[at]! - values[at - columns]!);
    }
  }
  return sum / Math.max(1, (part.bottom - part.top - 1) * (part.right - part.left));
}

/** All four of an image; grey values count as parts of their full scale, so that depths compare. */
export function floorNumbers(image: DecodedImage, fileSize: number): FloorNumbers {
  const { rows, columns, bitsStored } = image;
  const values = valuesOf(image);
  const full = 2 ** bitsStored - 1;
  let sum = 0;
  for (const value of values) sum += value;
  const top = Math.floor(rows / 4);
  const left = Math.floor(columns / 4);
  const whole = { top: 0, bottom: rows, left: 0, right: columns };
  const centre = { top, bottom: rows - top, left, right: columns - left };
  return {
    meanGrey: sum / values.length / full,
    blurWhole: verticalDifference(values, columns, whole) / full,
    blurCentre: verticalDifference(values, columns, centre) / full,
    fileSize,
  };
}

interface Measured {
  readonly floors: FloorNumbers;
}

export function floorAurocs(normal: readonly Measured[], abnormal: readonly Measured[]): FloorAurocs {
  const of = (floor: Floor): number => {
    const value = auroc(
      normal.map(({ floors }) => floors[floor]),
      abnormal.map(({ floors }) => floors[floor]),
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
