/**
 * Image scores that thresholds are taken from, where the normals are not all alike, or not all normal
 * (docs/explanation/thresholds.md).
 */

import type { CalibrationTables } from '../../geometry/specifications.js';
import { alignerOf } from '../../imaging/alignment.js';
import type { WorkingImage } from '../../imaging/working-image.js';
import type { FitImage } from '../encoders/preset.js';
import { alignmentReference } from './alignment-reference.js';

export interface ThresholdOptions {
  /** Share of the normals that are held not to be normal, in [0, 0.5): the highest scores are left out. */
  readonly contamination: number;
  /** Whether thresholds must hold in every fifth of the normals by field of view, sharpness and brightness. */
  readonly strata: boolean;
}

export const PLAIN_THRESHOLDS: ThresholdOptions = { contamination: 0, strata: false };

/**
 * As many parts by each: with the 200 ZhangLab normals of the widest view kept out of everything, fifths of the others
 * flag 9 % of them at 5 %, thirds 14 %.
 */
const PARTS = 5;
/** Fewer normals in a part say less about a rate than all of them do. */
const PART_IMAGES_MIN = 19;
/** Fewer normals have no parts. */
export const STRATA_IMAGES_MIN = PARTS * PART_IMAGES_MIN;

/** Mean grey level, and mean absolute difference between rows, of a working image. */
export function greyAndSharpness(
  pixels: Uint8Array,
  size: number,
): { readonly meanGrey: number; readonly sharpness: number } {
  let sum = 0;
  let gradient = 0;
  for (let i = 0; i < pixels.length; i += 1) {
    sum += pixels[i]!;
    if (i >= size) gradient += Math.abs(pixels[i]! - pixels[i - size]!);
  }
  return { meanGrey: sum / pixels.length, sharpness: gradient / (pixels.length - size) };
}

/** What no label says of an image, for each of them. */
function covariatesOf(images: readonly WorkingImage[]): readonly Readonly<Record<string, number>>[] {
  const size = images[0]?.geometry.workingSize ?? 0;
  const pixels = images.map((image) => image.pixels);
  // Where the model does not align, they are laid over their mean all the same: it takes more of one that shows less.
  const aligner = images.some(({ alignment }) => alignment === null)
    ? alignerOf(alignmentReference(pixels, size))
    : null;
  return images.map((image) => {
    const { meanGrey, sharpness } = greyAndSharpness(image.pixels, size);
    const { map } = image.alignment ?? aligner!.align(Uint8Array.from(image.pixels), size);
    return { brightness: meanGrey, sharpness, 'field of view': map.logScaleY + map.logScaleX };
  });
}

interface Judged {
  readonly image: WorkingImage;
  readonly score: number;
}

const ascending = (judged: readonly Judged[]): number[] =>
  judged.map(({ score }) => score).sort((a, b) => a - b);

function partsOf(judged: readonly Judged[]): NonNullable<CalibrationTables['strata']> {
  const covariates = covariatesOf(judged.map(({ image }) => image));
  const rows = judged.map((each, index) => ({ each, covariates: covariates[index]! }));
  return Object.keys(covariates[0] ?? {}).flatMap((name) => {
    const sorted = [...rows].sort((a, b) => a.covariates[name]! - b.covariates[name]!);
    const edge = (part: number): number => Math.round((part * sorted.length) / PARTS);
    return Array.from({ length: PARTS }, (_, part) => ({
      name: `${name}, ${part + 1} of ${PARTS}`,
      imageScores: ascending(sorted.slice(edge(part), edge(part + 1)).map(({ each }) => each)),
    }));
  });
}

/**
 * @param images the normals that calibrate
 * @param scores of them, NaN where nothing was scored
 */
export function refineThresholds(
  calibration: CalibrationTables,
  images: readonly FitImage[],
  scores: readonly number[],
  { contamination, strata }: ThresholdOptions,
): CalibrationTables {
  const judged = images.map(({ image }, index) => ({ image, score: scores[index]! }));
  const scored = judged.filter(({ score }) => !Number.isNaN(score)).sort((a, b) => a.score - b.score);
  const kept = scored.slice(0, Math.max(1, scored.length - Math.floor(contamination * scored.length)));
  const refined = { ...calibration, imageScores: ascending(kept) };
  return strata && kept.length >= STRATA_IMAGES_MIN ? { ...refined, strata: partsOf(kept) } : refined;
}
