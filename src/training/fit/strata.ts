/**
 * Adjusts the image scores that thresholds come from: leaves out the highest where some of the normals may be abnormal,
 * and splits them into strata where the normals differ much (docs/explanation/thresholds.md).
 */
import type { CalibrationTables } from '../../geometry/specifications.js';
import { alignerOf } from '../../imaging/alignment/alignment.js';
import type { WorkingImage } from '../../imaging/working-image/working-image.js';
import { fitAlignmentReference } from './alignment-reference.js';

export interface ThresholdOptions {
  /** Assumed share of abnormal images among the normals, in [0, 0.5): so many of the highest scores are left out. */
  readonly contamination: number;
  /** Whether thresholds must hold in every fifth of the normals by field of view, sharpness and brightness. */
  readonly strata: boolean;
}

export const DEFAULT_THRESHOLDS: ThresholdOptions = { contamination: 0, strata: false };

/**
 * Strata of each covariate. With the 200 ZhangLab normals of the widest view left out, thresholds from fifths of the
 * other normals flag 9 % of these 200 at 5 %, thresholds from thirds 14 %.
 */
const STRATA_PER_COVARIATE = 5;
/** A stratum with fewer images gives a worse estimate of a rate than all images together. */
const STRATUM_IMAGES_MIN = 19;
/** With fewer calibration images there are no strata. */
export const STRATA_IMAGES_MIN = STRATA_PER_COVARIATE * STRATUM_IMAGES_MIN;

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

/** Computes the numbers by which the images are split: brightness, sharpness and field of view. */
function computeCovariates(images: readonly WorkingImage[]): readonly Readonly<Record<string, number>>[] {
  const size = images[0]?.geometry.workingSize ?? 0;
  const pixels = images.map((image) => image.pixels);
  // The field of view is the scale of the alignment to the mean image, also where the model does not align.
  const aligner = images.some(({ alignment }) => alignment === null)
    ? alignerOf(fitAlignmentReference(pixels, size))
    : null;
  return images.map((image) => {
    const { meanGrey, sharpness } = greyAndSharpness(image.pixels, size);
    const { map } = image.alignment ?? aligner!.align(Uint8Array.from(image.pixels), size);
    return { brightness: meanGrey, sharpness, 'field of view': map.logScaleY + map.logScaleX };
  });
}

export interface ScoredImage {
  readonly image: WorkingImage;
  /** NaN where no patch was scored. */
  readonly score: number;
  /** The view that the model finds, where it distinguishes two views. */
  readonly view?: string | undefined;
}

const ascendingScores = (images: readonly ScoredImage[]): number[] =>
  images.map(({ score }) => score).sort((a, b) => a - b);

/** Splits the images by each covariate into strata of equal size. */
function splitIntoStrata(images: readonly ScoredImage[]): NonNullable<CalibrationTables['strata']> {
  const covariates = computeCovariates(images.map(({ image }) => image));
  const rows = images.map((image, index) => ({ image, covariates: covariates[index]! }));
  const byCovariate = Object.keys(covariates[0] ?? {}).flatMap((name) => {
    const sorted = [...rows].sort((a, b) => a.covariates[name]! - b.covariates[name]!);
    const edge = (stratum: number): number => Math.round((stratum * sorted.length) / STRATA_PER_COVARIATE);
    return Array.from({ length: STRATA_PER_COVARIATE }, (_, stratum) => ({
      name: `${name}, ${stratum + 1} of ${STRATA_PER_COVARIATE}`,
      imageScores: ascendingScores(sorted.slice(edge(stratum), edge(stratum + 1)).map(({ image }) => image)),
    }));
  });
  const views = [...new Set(images.flatMap(({ view }) => view ?? []))].sort();
  const byView = views.map((view) => ({
    name: `view ${view}`,
    imageScores: ascendingScores(images.filter((image) => image.view === view)),
  }));
  return [...byCovariate, ...byView.filter(({ imageScores }) => imageScores.length >= STRATUM_IMAGES_MIN)];
}

/** Applies the options to the image scores of calibration tables. @param images the calibration images */
export function refineThresholds(
  calibration: CalibrationTables,
  images: readonly ScoredImage[],
  { contamination, strata }: ThresholdOptions,
): CalibrationTables {
  const scored = images.filter(({ score }) => !Number.isNaN(score)).sort((a, b) => a.score - b.score);
  const kept = scored.slice(0, Math.max(1, scored.length - Math.floor(contamination * scored.length)));
  const refined = { ...calibration, imageScores: ascendingScores(kept) };
  return strata && kept.length >= STRATA_IMAGES_MIN ? { ...refined, strata: splitIntoStrata(kept) } : refined;
}
