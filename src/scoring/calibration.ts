/**
 * Calibration on normals: robust z of each cell, conformal p-values and thresholds
 * (docs/explanation/salad-method.md, section 8). Half A of the normals fits the tables of the cells, half B the
 * distributions that follow.
 */
import { SaladError } from '../errors/index.js';
import { type AggregateForm, imageScore } from './aggregate.js';

/** The calibration section of a manifest. */
export interface Calibration {
  readonly patchMedian: readonly number[];
  readonly patchMad: readonly number[];
  /** Ascending. */
  readonly patchZQuantiles: readonly number[];
  /** Ascending. */
  readonly imageScores: readonly number[];
  /** Of parts of the normals, each ascending; absent: only all of them count. */
  readonly strata?: readonly { readonly imageScores: readonly number[] }[] | undefined;
}

/** Distributions of normal image scores. */
export type ImageCalibration = Pick<Calibration, 'imageScores' | 'strata'>;

/** All normals, then every part. */
function distributionsOf({ imageScores, strata = [] }: ImageCalibration): readonly (readonly number[])[] {
  return [imageScores, ...strata.map((part) => part.imageScores)];
}

/** Makes the MAD of a normal distribution its standard deviation. */
const MAD_TO_SIGMA = 1.4826;
/** A cell's MAD is at least this share of the median MAD of all cells (docs/explanation/salad-method.md, section 8). */
const MAD_FLOOR_RATIO = 0.3;
/** Keeps z finite where all calibration scores are the same. */
const MAD_FLOOR = 1e-6;
/** A cell with fewer scores than this uses the scores of all cells together. */
const MIN_SCORES_PER_CELL = 50;
/** Points of the stored distribution of patch z. */
const QUANTILE_COUNT = 1001;

/** Quantile by linear interpolation between order statistics of ascending values, as numpy does. */
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

/** For a normal distribution the distance from median to 90 % quantile is this many MAD. */
const UPPER_TO_MAD = 1.2815515655446004 / 0.6744897501960817;

/**
 * Median and spread on the scale of the MAD: the larger of the MAD and the distance to the 90 % quantile. Otherwise
 * places where normals differ much (diaphragm, hila, border of the body) would score highest in every image.
 */
function medianAndSpread(values: ArrayLike<number>): { readonly median: number; readonly mad: number } {
  const { median, mad } = medianAndMad(values);
  const upper = quantileOfSorted(Float64Array.from(values).sort(), 0.9) - median;
  return { median, mad: Math.max(mad, upper / UPPER_TO_MAD) };
}

/** (score - median) / (1.4826 MAD) of the patch's cell. */
export function robustZ(
  calibration: Pick<Calibration, 'patchMedian' | 'patchMad'>,
  patchIndex: number,
  score: number,
): number {
  return (score - calibration.patchMedian[patchIndex]!) / (MAD_TO_SIGMA * calibration.patchMad[patchIndex]!);
}

/** Robust z of an image's patch scores, cell by cell; NaN where not scored. */
export function robustZOf(
  calibration: Pick<Calibration, 'patchMedian' | 'patchMad'>,
  scores: Float32Array,
): number[] {
  return Array.from(scores, (score, cell) => robustZ(calibration, cell, score));
}

/** How many of the ascending values are >= value. */
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
 * p-value of one patch's robust z among normal patches. Patches of one image depend on each other: no
 * claim about many patches at once follows without a correction.
 */
export function patchPValue(calibration: Pick<Calibration, 'patchZQuantiles'>, z: number): number {
  return conformalPValue(calibration.patchZQuantiles, z);
}

/**
 * Conformal p-value of an image score among held-out normals; with strata the largest over all strata, so that it holds
 * in each of them.
 */
export function imagePValue(calibration: ImageCalibration, score: number): number {
  return Math.max(...distributionsOf(calibration).map((sorted) => conformalPValue(sorted, score)));
}

/** The smallest false-positive rate the calibration set can promise: 1 / (n + 1), n of the smallest stratum. */
export function minFalsePositiveRate(calibration: ImageCalibration): number {
  return 1 / (Math.min(...distributionsOf(calibration).map((sorted) => sorted.length)) + 1);
}

/**
 * Flag an image where score > threshold: at most the given share of normals like the calibration set is
 * flagged. The k-th smallest calibration score, k = ceil((n + 1)(1 - rate) - 1e-9); the highest of all strata's.
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
          `a false-positive rate of ${falsePositiveRate} cannot be promised with ${count} calibration images: ` +
            `the smallest is ${minFalsePositiveRate(calibration)}`,
        );
      }
      return sorted[Math.max(1, k) - 1]!;
    }),
  );
}

/**
 * Median and spread (on the scale of the MAD, with a lower bound) of every cell. A cell with fewer than 50 scores uses
 * those of all cells together.
 * @param images patch scores of the normals of half A, each [cells]; NaN where a patch was not scored.
 * @throws SaladError TRAINING_DATA_INVALID where there is no score at all.
 */
export function patchTables(
  images: readonly Float32Array[],
  minScoresPerCell = MIN_SCORES_PER_CELL,
): { readonly patchMedian: number[]; readonly patchMad: number[] } {
  const cells = images[0]?.length ?? 0;
  const perCell: number[][] = Array.from({ length: cells }, () => []);
  for (const scores of images) {
    scores.forEach((score, cell) => {
      if (!Number.isNaN(score)) perCell[cell]!.push(score);
    });
  }
  const all = perCell.flat();
  if (all.length === 0) {
    throw new SaladError('TRAINING_DATA_INVALID', 'calibration has no scored patch of a normal image');
  }
  const pooled = medianAndSpread(all);
  const tables = perCell.map((scores) =>
    scores.length >= minScoresPerCell ? medianAndSpread(scores) : pooled,
  );
  const typical = medianAndMad(tables.map(({ mad }) => mad)).median;
  const floor = Math.max(MAD_FLOOR, MAD_FLOOR_RATIO * typical);
  return {
    patchMedian: tables.map(({ median }) => median),
    patchMad: tables.map(({ mad }) => Math.max(floor, mad)),
  };
}

/** A manifest's calibration section; arrays are fresh and may be stored. */
export type BuiltCalibration = { -readonly [Key in Exclude<keyof Calibration, 'strata'>]: number[] };

/**
 * The distributions of patch z and of image scores under given tables of the cells.
 * @param images patch scores per image [cells]; NaN where not scored.
 * @throws SaladError TRAINING_DATA_INVALID where no image has a scored inner patch.
 */
export function imageTables(
  tables: Pick<BuiltCalibration, 'patchMedian' | 'patchMad'>,
  images: readonly Float32Array[],
  geometry: { readonly patchGrid: number },
  aggregate: AggregateForm,
): BuiltCalibration {
  const z: number[] = [];
  const imageScores: number[] = [];
  for (const scores of images) {
    const patchZ = robustZOf(tables, scores);
    z.push(...patchZ.filter((value) => !Number.isNaN(value)));
    const score = imageScore(patchZ, geometry, aggregate);
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

/**
 * All tables from held-out normals, patient-disjoint from the bank and from any test.
 * @param halfA patch scores per image [cells] for the cells' tables; NaN where not scored.
 * @param halfB patch scores per image for the distributions of patch z and of image scores.
 * @throws SaladError TRAINING_DATA_INVALID where one half has no scored patch.
 */
export function calibrationTables(
  halfA: readonly Float32Array[],
  halfB: readonly Float32Array[],
  geometry: { readonly patchGrid: number },
  aggregate: AggregateForm,
  minScoresPerCell = MIN_SCORES_PER_CELL,
): BuiltCalibration {
  return imageTables(patchTables(halfA, minScoresPerCell), halfB, geometry, aggregate);
}
