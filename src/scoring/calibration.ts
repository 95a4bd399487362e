/**
 * Calibration on normal images: robust z of each cell, conformal p-values and thresholds
 * (docs/explanation/salad-method.md, section 8). Half A of the calibration images fits the median and spread of every
 * cell, half B the distributions of patch z and of image scores.
 */
import { SaladError } from '../errors/index.js';
import type { Geometry } from '../geometry/geometry.js';
import type { CalibrationTables, ScoringSpec } from '../geometry/specifications.js';
import { type AggregateSpec, imageScore } from './aggregate.js';
import { robustZOf, type SmoothedScores, type ZModel } from './patch-z.js';

/** Distributions of normal image scores: of all calibration images, and of every stratum. Ascending. */
export interface ImageCalibration {
  readonly imageScores: readonly number[];
  /** Absent: p-values and thresholds use the distribution of all images only. */
  readonly strata?: readonly { readonly imageScores: readonly number[] }[] | undefined;
}

/** The distribution of all images, then those of the strata. */
function distributionsOf({ imageScores, strata = [] }: ImageCalibration): readonly (readonly number[])[] {
  return [imageScores, ...strata.map((stratum) => stratum.imageScores)];
}

/** The spread of a cell is at least this share of the median spread (docs/explanation/salad-method.md, section 8). */
const MAD_FLOOR_RATIO = 0.3;
/** Keeps z finite where all calibration scores are the same. */
const MAD_FLOOR = 1e-6;
/** A cell with fewer scores than this uses the pooled scores of all cells. */
const MIN_SCORES_PER_CELL = 50;
/** Points of the stored distribution of patch z. */
const QUANTILE_COUNT = 1001;
/** In a normal distribution, the distance from the median to the 90 % quantile is this many MAD. */
const UPPER_TO_MAD = 1.2815515655446004 / 0.6744897501960817;

/** Quantile of ascending values by linear interpolation between order statistics, as numpy computes it. */
export function quantileOfSorted(sorted: ArrayLike<number>, probability: number): number {
  const at = probability * (sorted.length - 1);
  const low = Math.floor(at);
  const high = Math.min(sorted.length - 1, low + 1);
  return sorted[low]! + (sorted[high]! - sorted[low]!) * (at - low);
}

/** Median and median absolute deviation. */
export function medianAndMad(values: ArrayLike<number>): { readonly median: number; readonly mad: number } {
  const sorted = Float64Array.from(values).sort();
  const median = quantileOfSorted(sorted, 0.5);
  const mad = quantileOfSorted(sorted.map((value) => Math.abs(value - median)).sort(), 0.5);
  return { median, mad };
}

/**
 * Median and spread, the spread on the scale of the MAD: the larger of the MAD and the distance to the 90 % quantile.
 * With the MAD alone, places where normal images differ much (diaphragm, hila, border of the body) would get the
 * highest z in every image.
 */
function medianAndSpread(values: ArrayLike<number>): { readonly median: number; readonly mad: number } {
  const { median, mad } = medianAndMad(values);
  const upper = quantileOfSorted(Float64Array.from(values).sort(), 0.9) - median;
  return { median, mad: Math.max(mad, upper / UPPER_TO_MAD) };
}

/**
 * Robust z and image score from the patch scores of one image, as the server computes them: each z is rounded to
 * float32 before it is aggregated.
 * @returns patchZ float32 [patchGrid squared] with NaN where the patch was not scored; score NaN where no inner patch was
 *   scored
 */
export function aggregateImage(
  scores: SmoothedScores,
  model: ZModel & { readonly scoring: { readonly aggregate: AggregateSpec } },
  geometry: Pick<Geometry, 'patchGrid'>,
): { readonly patchZ: Float32Array; readonly score: number } {
  const patchZ = Float32Array.from(robustZOf(model, scores));
  return { patchZ, score: imageScore(patchZ, geometry, model.scoring.aggregate) };
}

/** Number of ascending values that are at least `value`. */
function countAtLeast(sorted: readonly number[], value: number): number {
  let low = 0;
  let high = sorted.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (sorted[middle]! < value) low = middle + 1;
    else high = middle;
  }
  return sorted.length - low;
}

/** Conformal p-value (1 + #{calibration >= value}) / (n + 1), in (0, 1]. */
export function conformalPValue(sorted: readonly number[], value: number): number {
  return (1 + countAtLeast(sorted, value)) / (sorted.length + 1);
}

/**
 * p-value of one patch's robust z among normal patches. The patches of an image depend on each other: without a
 * correction it supports no claim about many patches at once.
 */
export function patchPValue(calibration: Pick<CalibrationTables, 'patchZQuantiles'>, z: number): number {
  return conformalPValue(calibration.patchZQuantiles, z);
}

/**
 * Conformal p-value of an image score among the calibration images. With strata it is the largest over all
 * distributions, so that it is valid in each stratum.
 */
export function imagePValue(calibration: ImageCalibration, score: number): number {
  return Math.max(...distributionsOf(calibration).map((sorted) => conformalPValue(sorted, score)));
}

/** The lowest false-positive rate that can be guaranteed: 1 / (n + 1), n of the smallest distribution. */
export function minFalsePositiveRate(calibration: ImageCalibration): number {
  return 1 / (Math.min(...distributionsOf(calibration).map((sorted) => sorted.length)) + 1);
}

/** The lowest rate for display: rounded up to two digits, so that the rate that is shown can be requested. */
export function shownLowestRate(calibration: ImageCalibration): number {
  return roundedUp(minFalsePositiveRate(calibration));
}

/** @param rate above 0 @returns two significant digits, not below the rate but for errors of rounding */
export function roundedUp(rate: number): number {
  const unit = 10 ** (Math.floor(Math.log10(rate)) - 1);
  return Number((Math.ceil(rate / unit - 1e-9) * unit).toPrecision(2));
}

/**
 * The decision threshold of a false-positive rate. An image is anomalous where score > threshold; of normal images
 * exchangeable with the calibration images, at most the given share is then flagged. It is the k-th smallest
 * calibration score, k = ceil((n + 1)(1 - rate) - 1e-9); with strata, the highest over all distributions.
 * @throws SaladError FALSE_POSITIVE_RATE_UNREACHABLE where k > n (1 % needs 99 normals) or the rate is not
 *   in (0, 1).
 */
export function thresholdFor(calibration: ImageCalibration, falsePositiveRate: number): number {
  return Math.max(
    ...distributionsOf(calibration).map((sorted) => {
      const count = sorted.length;
      const k = Math.ceil((count + 1) * (1 - falsePositiveRate) - 1e-9);
      if (!(falsePositiveRate > 0 && falsePositiveRate < 1) || k > count) {
        throw new SaladError(
          'FALSE_POSITIVE_RATE_UNREACHABLE',
          `a false-positive rate of ${falsePositiveRate} cannot be guaranteed with ${count} calibration images: ` +
            `the lowest is ${shownLowestRate(calibration)}`,
        );
      }
      return sorted[Math.max(1, k) - 1]!;
    }),
  );
}

/**
 * Fits the median and spread (on the scale of the MAD, with a lower bound) of every cell. A cell with too few scores
 * uses the pooled scores of all cells.
 * @param images patch scores of the images of half A, each [cells]; NaN where a patch was not scored
 * @throws SaladError TRAINING_DATA_INVALID where there is no score at all
 */
export function fitPatchTables(
  images: readonly Float32Array[],
  minScoresPerCell = MIN_SCORES_PER_CELL,
): Pick<CalibrationTables, 'patchMedian' | 'patchMad'> {
  const cellCount = images[0]?.length ?? 0;
  const scoresByCell: number[][] = Array.from({ length: cellCount }, () => []);
  for (const scores of images) {
    scores.forEach((score, cell) => {
      if (!Number.isNaN(score)) scoresByCell[cell]!.push(score);
    });
  }
  const allScores = scoresByCell.flat();
  if (allScores.length === 0) {
    throw new SaladError('TRAINING_DATA_INVALID', 'calibration has no scored patch of a normal image');
  }
  const pooled = medianAndSpread(allScores);
  const tables = scoresByCell.map((scores) =>
    scores.length >= minScoresPerCell ? medianAndSpread(scores) : pooled,
  );
  const medianSpread = medianAndMad(tables.map(({ mad }) => mad)).median;
  const floor = Math.max(MAD_FLOOR, MAD_FLOOR_RATIO * medianSpread);
  return {
    patchMedian: tables.map(({ median }) => median),
    patchMad: tables.map(({ mad }) => Math.max(floor, mad)),
  };
}

/** Tables of one view, or of two views with their classifier. */
type ZTables = Pick<CalibrationTables, 'patchMedian' | 'patchMad' | 'secondView'>;

/** How z is computed and aggregated. */
type CalibratedScoring = Pick<ScoringSpec, 'blur' | 'edgePenalty' | 'aggregate'>;

/**
 * Fits the distributions of patch z and of image scores, given the tables of the cells.
 * @param images patch scores of the images of half B
 * @throws SaladError TRAINING_DATA_INVALID where no image has a scored inner patch
 */
export function fitImageTables(
  tables: ZTables,
  images: readonly SmoothedScores[],
  geometry: Pick<Geometry, 'patchGrid'>,
  scoring: CalibratedScoring,
): CalibrationTables {
  const z: number[] = [];
  const imageScores: number[] = [];
  for (const image of images) {
    const patchZ = robustZOf({ calibration: tables, scoring }, image);
    for (const value of patchZ) if (!Number.isNaN(value)) z.push(value);
    const score = imageScore(patchZ, geometry, scoring.aggregate);
    if (!Number.isNaN(score)) imageScores.push(score);
  }
  if (imageScores.length === 0) {
    throw new SaladError('TRAINING_DATA_INVALID', 'no calibration image has a scored inner patch');
  }
  const sorted = Float64Array.from(z).sort();
  return {
    ...tables,
    patchZQuantiles: Array.from({ length: QUANTILE_COUNT }, (_, index) =>
      quantileOfSorted(sorted, index / (QUANTILE_COUNT - 1)),
    ),
    imageScores: imageScores.sort((a, b) => a - b),
  };
}

/** Distinguishes two views: the names, and the logistic function of the mean embedding. */
export type ViewModel = Pick<NonNullable<CalibrationTables['secondView']>, 'names' | 'weights' | 'bias'>;

/** Fits the tables of the cells; with a view model, one for the images of each view. */
export function fitViewTables(
  images: readonly SmoothedScores[],
  viewModel?: ViewModel,
  minScoresPerCell = MIN_SCORES_PER_CELL,
): ZTables {
  if (viewModel === undefined) {
    return fitPatchTables(
      images.map(({ scores }) => scores),
      minScoresPerCell,
    );
  }
  const [first, second] = [false, true].map((isSecond) =>
    fitPatchTables(
      images.filter(({ secondView }) => secondView >= 0.5 === isSecond).map(({ scores }) => scores),
      minScoresPerCell,
    ),
  );
  return { ...first!, secondView: { ...viewModel, ...second! } };
}

/**
 * Fits all tables from normal images whose patients are neither in the bank nor in a test set.
 * @param halfA patch scores per image for the tables of the cells
 * @param halfB patch scores per image for the distributions of patch z and of image scores
 * @throws SaladError TRAINING_DATA_INVALID where one half has no scored patch
 */
export function fitCalibrationTables(
  halfA: readonly SmoothedScores[],
  halfB: readonly SmoothedScores[],
  geometry: Pick<Geometry, 'patchGrid'>,
  scoring: CalibratedScoring,
  viewModel?: ViewModel,
  minScoresPerCell = MIN_SCORES_PER_CELL,
): CalibrationTables {
  return fitImageTables(fitViewTables(halfA, viewModel, minScoresPerCell), halfB, geometry, scoring);
}
