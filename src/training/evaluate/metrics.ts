/**
 * How well scores separate a class from the normal one. Higher scores mean more anomalous; a tie between a
 * normal and an abnormal image counts half. Nothing here chooses a threshold by looking at the test labels.
 */
import { quantileOfSorted } from '../../scoring/calibration.js';
import { createRandom } from '../../util/random.js';

/** One point of the receiver operating characteristic: what is flagged at `score >= threshold`. */
export interface RocPoint {
  readonly falsePositiveRate: number;
  readonly truePositiveRate: number;
  readonly threshold: number;
}

export type Interval = readonly [low: number, high: number];

/** Distinct scores in descending order with how many of each group have them. */
interface ScoreLevels {
  readonly thresholds: Float64Array;
  readonly normal: Float64Array;
  readonly abnormal: Float64Array;
  /** Level of every normal, then of every abnormal score. */
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
  let above = 0;
  let wins = 0;
  for (let level = 0; level < normal.length; level += 1) {
    wins += normal[level]! * (above + abnormal[level]! / 2);
    above += abnormal[level]!;
  }
  return wins / pairs;
}

/** Area under the ROC curve: P(abnormal > normal) + P(equal) / 2. @throws RangeError for an empty group or NaN. */
export function auroc(normal: ArrayLike<number>, abnormal: ArrayLike<number>): number {
  const levels = scoreLevels(normal, abnormal);
  return aurocFromCounts(levels.normal, levels.abnormal, normal.length * abnormal.length);
}

/**
 * Percentile bootstrap interval of the AUROC, resampling each group by itself (stratified).
 * Scores are ranked once; a resample only recounts ranks.
 */
export function aurocInterval(
  normal: ArrayLike<number>,
  abnormal: ArrayLike<number>,
  options: { readonly resamples?: number; readonly seed?: number; readonly level?: number } = {},
): Interval {
  const { resamples = 2000, seed = 0, level = 0.95 } = options;
  const levels = scoreLevels(normal, abnormal);
  const random = createRandom(seed);
  const pairs = normal.length * abnormal.length;
  const resample = (from: Int32Array, counts: Float64Array): void => {
    counts.fill(0);
    for (let i = 0; i < from.length; i += 1) counts[from[Math.floor(random() * from.length)]!]! += 1;
  };
  const normalCounts = new Float64Array(levels.thresholds.length);
  const abnormalCounts = new Float64Array(levels.thresholds.length);
  const values = new Float64Array(resamples);
  for (let i = 0; i < resamples; i += 1) {
    resample(levels.normalLevels, normalCounts);
    resample(levels.abnormalLevels, abnormalCounts);
    values[i] = aurocFromCounts(normalCounts, abnormalCounts, pairs);
  }
  values.sort();
  return [quantileOfSorted(values, (1 - level) / 2), quantileOfSorted(values, (1 + level) / 2)];
}

/** From (0, 0), where nothing is flagged, to (1, 1); one point per distinct score. */
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

/** Average precision: sum over distinct scores of (recall gained) x (precision there); no interpolation. */
export function averagePrecision(normal: ArrayLike<number>, abnormal: ArrayLike<number>): number {
  const levels = scoreLevels(normal, abnormal);
  let flagged = 0;
  let truePositives = 0;
  let area = 0;
  for (let level = 0; level < levels.thresholds.length; level += 1) {
    const gained = levels.abnormal[level]!;
    truePositives += gained;
    flagged += gained + levels.normal[level]!;
    area += (gained / abnormal.length) * (truePositives / flagged);
  }
  // Recall gains add up to 1 only to rounding.
  return Math.min(1, area);
}

/** Wilson score interval of a proportion at 95 % (z = 1.959964). @throws RangeError where total is 0. */
export function wilsonInterval(successes: number, total: number, z = 1.959963984540054): Interval {
  if (!(total > 0) || successes < 0 || successes > total) {
    throw new RangeError(`${successes} of ${total} is not a proportion`);
  }
  const p = successes / total;
  const z2 = (z * z) / total;
  const centre = (p + z2 / 2) / (1 + z2);
  const half = (z * Math.sqrt((p * (1 - p)) / total + z2 / (4 * total))) / (1 + z2);
  return [Math.max(0, centre - half), Math.min(1, centre + half)];
}
