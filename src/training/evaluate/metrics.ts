/**
 * Measures how well scores separate a class from the normal one. Higher scores mean more anomalous; a tie between a
 * normal and an abnormal image counts half. No function chooses a threshold by the test labels.
 */
import { quantileOfSorted } from '../../scoring/calibration.js';
import { createRandom } from '../../util/random.js';

/** One point of the receiver operating characteristic (ROC): images with `score >= threshold` are flagged. */
export interface RocPoint {
  readonly falsePositiveRate: number;
  readonly truePositiveRate: number;
  readonly threshold: number;
}

export type Interval = readonly [low: number, high: number];

/** Standard normal quantile of 97.5 %. */
const Z_95 = 1.959963984540054;

/** The distinct scores in descending order; a level is an index into them. */
interface ScoreLevels {
  readonly thresholds: Float64Array;
  /** Number of normal and of abnormal scores at each level. */
  readonly normal: Float64Array;
  readonly abnormal: Float64Array;
  /** Level of each normal and of each abnormal score. */
  readonly normalLevels: Int32Array;
  readonly abnormalLevels: Int32Array;
}

function scoreLevels(normal: ArrayLike<number>, abnormal: ArrayLike<number>): ScoreLevels {
  const all = Float64Array.from([...Array.from(normal), ...Array.from(abnormal)]);
  if (normal.length === 0 || abnormal.length === 0 || all.some(Number.isNaN)) {
    throw new RangeError('both groups need at least one score, and no score may be NaN');
  }
  const thresholds = Float64Array.from(new Set(all)).sort().reverse();
  const levelOf = new Map(Array.from(thresholds, (score, level) => [score, level]));
  const count = (scores: ArrayLike<number>): [Float64Array, Int32Array] => {
    const counts = new Float64Array(thresholds.length);
    const levels = Int32Array.from(Array.from(scores), (score) => levelOf.get(score)!);
    for (const level of levels) counts[level]! += 1;
    return [counts, levels];
  };
  const [normalCounts, normalLevels] = count(normal);
  const [abnormalCounts, abnormalLevels] = count(abnormal);
  return { thresholds, normal: normalCounts, abnormal: abnormalCounts, normalLevels, abnormalLevels };
}

function aurocFromCounts(normal: Float64Array, abnormal: Float64Array, pairs: number): number {
  let abnormalAbove = 0;
  let orderedPairs = 0;
  for (let level = 0; level < normal.length; level += 1) {
    orderedPairs += normal[level]! * (abnormalAbove + abnormal[level]! / 2);
    abnormalAbove += abnormal[level]!;
  }
  return orderedPairs / pairs;
}

/** Area under the ROC curve: P(abnormal > normal) + P(equal) / 2. @throws RangeError for an empty group or NaN. */
export function auroc(normal: ArrayLike<number>, abnormal: ArrayLike<number>): number {
  const levels = scoreLevels(normal, abnormal);
  return aurocFromCounts(levels.normal, levels.abnormal, normal.length * abnormal.length);
}

/** The score of an image and its patient; images of one patient are not independent. */
export interface PatientScore {
  readonly score: number;
  readonly patient: string;
}

/** With fewer patients in a group a bootstrap interval is too narrow: resamples of a few patients vary too little. */
const BOOTSTRAP_PATIENTS_MIN = 10;

/** The score levels of one patient's images in both groups. */
interface Cluster {
  readonly normal: number[];
  readonly abnormal: number[];
}

/** Groups images by patient: patients with normal images only, with abnormal only, with both. Each is resampled alone. */
function clustersOf(
  levels: ScoreLevels,
  normal: readonly PatientScore[],
  abnormal: readonly PatientScore[],
): readonly (readonly Cluster[])[] {
  const clusters = new Map<string, Cluster>();
  const add = (group: readonly PatientScore[], groupLevels: Int32Array, key: keyof Cluster): void => {
    group.forEach(({ patient }, index) => {
      const cluster = clusters.get(patient) ?? { normal: [], abnormal: [] };
      clusters.set(patient, cluster);
      cluster[key].push(groupLevels[index]!);
    });
  };
  add(normal, levels.normalLevels, 'normal');
  add(abnormal, levels.abnormalLevels, 'abnormal');
  const all = [...clusters.values()];
  return [
    all.filter((cluster) => cluster.abnormal.length === 0),
    all.filter((cluster) => cluster.normal.length === 0),
    all.filter((cluster) => cluster.normal.length > 0 && cluster.abnormal.length > 0),
  ];
}

function sum(counts: Float64Array): number {
  return counts.reduce((total, count) => total + count, 0);
}

/** Percentile bootstrap interval of the AUROC. @param strata patients that are resampled together */
function bootstrapInterval(
  levels: ScoreLevels,
  strata: readonly (readonly Cluster[])[],
  { resamples, seed, level }: { readonly resamples: number; readonly seed: number; readonly level: number },
): Interval {
  const random = createRandom(seed);
  const normalCounts = new Float64Array(levels.thresholds.length);
  const abnormalCounts = new Float64Array(levels.thresholds.length);
  const values = new Float64Array(resamples);
  for (let i = 0; i < resamples; i += 1) {
    normalCounts.fill(0);
    abnormalCounts.fill(0);
    for (const clusters of strata) {
      for (let draw = 0; draw < clusters.length; draw += 1) {
        const cluster = clusters[Math.floor(random() * clusters.length)]!;
        for (const at of cluster.normal) normalCounts[at]! += 1;
        for (const at of cluster.abnormal) abnormalCounts[at]! += 1;
      }
    }
    const pairs = sum(normalCounts) * sum(abnormalCounts);
    values[i] = aurocFromCounts(normalCounts, abnormalCounts, pairs);
  }
  values.sort();
  return [quantileOfSorted(values, (1 - level) / 2), quantileOfSorted(values, (1 + level) / 2)];
}

/**
 * Interval of an AUROC from the estimate and the numbers of patients (Newcombe, Statistics in Medicine 25:559, 2006,
 * method 5): all values from which the estimate is at most z standard errors away, with Hanley and McNeil's standard
 * error at that value and the mean group size. Its width is above 0 also for an AUROC of 1.
 */
export function newcombeInterval(
  area: number,
  normalPatients: number,
  abnormalPatients: number,
  z = Z_95,
): Interval {
  const mean = (normalPatients + abnormalPatients) / 2 - 1;
  const variance = (value: number): number =>
    ((value * (1 - value)) / (normalPatients * abnormalPatients)) *
    (1 + (mean * (1 - value)) / (2 - value) + (mean * value) / (1 + value));
  /** Finds the end of the interval between the estimate and 0 or 1 by bisection. */
  const findEnd = (bound: 0 | 1): number => {
    let inside = area;
    let outside: number = bound;
    for (let step = 0; step < 60; step += 1) {
      const middle = (inside + outside) / 2;
      if ((middle - area) ** 2 <= z * z * variance(middle)) inside = middle;
      else outside = middle;
    }
    return inside;
  };
  return [area === 0 ? 0 : findEnd(0), area === 1 ? 1 : findEnd(1)];
}

/**
 * 95 % interval of the AUROC: percentile bootstrap over patients. With fewer than ten patients in a group, or an AUROC of
 * 0 or 1, it is Newcombe's interval, because resamples would hardly vary.
 * @throws RangeError for an empty group or NaN
 */
export function aurocInterval(
  normal: readonly PatientScore[],
  abnormal: readonly PatientScore[],
  options: { readonly resamples?: number; readonly seed?: number } = {},
): Interval {
  const scores = (group: readonly PatientScore[]): number[] => group.map(({ score }) => score);
  const levels = scoreLevels(scores(normal), scores(abnormal));
  const area = aurocFromCounts(levels.normal, levels.abnormal, normal.length * abnormal.length);
  const patients = [normal, abnormal].map((group) => new Set(group.map(({ patient }) => patient)).size);
  if (area === 0 || area === 1 || Math.min(...patients) < BOOTSTRAP_PATIENTS_MIN) {
    return newcombeInterval(area, patients[0]!, patients[1]!);
  }
  const { resamples = 2000, seed = 0 } = options;
  return bootstrapInterval(levels, clustersOf(levels, normal, abnormal), { resamples, seed, level: 0.95 });
}

/** The ROC curve from (0, 0), where no image is flagged, to (1, 1); one point per distinct score. */
export function rocPoints(normal: ArrayLike<number>, abnormal: ArrayLike<number>): RocPoint[] {
  const levels = scoreLevels(normal, abnormal);
  const points: RocPoint[] = [
    { falsePositiveRate: 0, truePositiveRate: 0, threshold: Number.POSITIVE_INFINITY },
  ];
  let falsePositives = 0;
  let truePositives = 0;
  for (let level = 0; level < levels.thresholds.length; level += 1) {
    falsePositives += levels.normal[level]!;
    truePositives += levels.abnormal[level]!;
    points.push({
      falsePositiveRate: falsePositives / normal.length,
      truePositiveRate: truePositives / abnormal.length,
      threshold: levels.thresholds[level]!,
    });
  }
  return points;
}

/** Smallest false-positive rate at which at least `truePositiveRate` of the abnormal images are flagged. */
export function fprAtTpr(
  normal: ArrayLike<number>,
  abnormal: ArrayLike<number>,
  truePositiveRate = 0.95,
): number {
  const point = rocPoints(normal, abnormal).find((each) => each.truePositiveRate >= truePositiveRate - 1e-12);
  return point?.falsePositiveRate ?? 1;
}

/** Average precision: sum over the distinct scores of (gain in recall) x (precision); no interpolation. */
export function averagePrecision(normal: ArrayLike<number>, abnormal: ArrayLike<number>): number {
  const levels = scoreLevels(normal, abnormal);
  let flagged = 0;
  let truePositives = 0;
  let area = 0;
  for (let level = 0; level < levels.thresholds.length; level += 1) {
    const gain = levels.abnormal[level]!;
    truePositives += gain;
    flagged += gain + levels.normal[level]!;
    area += (gain / abnormal.length) * (truePositives / flagged);
  }
  // The gains in recall add up to 1 only except for rounding.
  return Math.min(1, area);
}

/** Wilson score interval of a proportion at 95 % (z = 1.959964). @throws RangeError where total is 0. */
export function wilsonInterval(successes: number, total: number, z = Z_95): Interval {
  if (!(total > 0) || successes < 0 || successes > total) {
    throw new RangeError(`${successes} of ${total} is not a proportion`);
  }
  const p = successes / total;
  const z2 = (z * z) / total;
  const centre = (p + z2 / 2) / (1 + z2);
  const half = (z * Math.sqrt((p * (1 - p)) / total + z2 / (4 * total))) / (1 + z2);
  return [Math.max(0, centre - half), Math.min(1, centre + half)];
}

/**
 * Wilson interval of the share of flagged images, where a patient may have several images. The number of images is
 * divided by the design effect: the variance of the patients' sums relative to that of independent images.
 * @throws RangeError where there is no image
 */
export function clusteredShareInterval(
  images: readonly { readonly patient: string; readonly flagged: boolean }[],
): Interval {
  const sums = new Map<string, number>();
  const share = images.filter(({ flagged }) => flagged).length / images.length;
  for (const { patient, flagged } of images) {
    sums.set(patient, (sums.get(patient) ?? 0) + (flagged ? 1 : 0) - share);
  }
  const independentVariance = images.length * share * (1 - share);
  const clusteredVariance = [...sums.values()].reduce((total, value) => total + value * value, 0);
  // Where all images are flagged or none, the variance between patients is unknown: each patient counts once.
  const designEffect =
    independentVariance > 0
      ? Math.max(1, clusteredVariance / independentVariance)
      : images.length / sums.size;
  const effectiveCount = images.length / designEffect;
  return wilsonInterval(share * effectiveCount, effectiveCount);
}
