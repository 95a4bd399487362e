/** Fits the classifier of two views of normal images: a logistic regression on the mean embedding of an image. */
import type { ViewModel } from '../../scoring/calibration.js';
import { secondViewProbability } from '../../scoring/patch-z.js';
import type { FitImage } from '../encoders/preset.js';

/** With fewer images of one view there is no view model: its tables would be guesses. */
export const VIEW_IMAGES_MIN = 50;
/** L2 penalty on the weights of standardised features, per image. */
const PENALTY = 0.01;
const NEWTON_STEPS = 12;

/** The two views of the images, the more frequent first; undefined where there are others or too few of one. */
export function twoViews(images: readonly Pick<FitImage, 'view'>[]): readonly [string, string] | undefined {
  const counts = new Map<string, number>();
  for (const { view = '' } of images) counts.set(view, (counts.get(view) ?? 0) + 1);
  const views = [...counts].sort((a, b) => b[1] - a[1] || (a[0] < b[0] ? -1 : 1));
  if (views.length !== 2 || counts.has('') || views[1]![1] < VIEW_IMAGES_MIN) return undefined;
  return [views[0]![0], views[1]![0]];
}

/** Solves the symmetric positive definite system A x = b by Cholesky's method; A and b are overwritten. */
function solve(matrix: Float64Array, vector: Float64Array): Float64Array {
  const n = vector.length;
  for (let i = 0; i < n; i += 1) {
    for (let j = 0; j <= i; j += 1) {
      let sum = matrix[i * n + j]!;
      for (let k = 0; k < j; k += 1) sum -= matrix[i * n + k]! * matrix[j * n + k]!;
      matrix[i * n + j] = i === j ? Math.sqrt(sum) : sum / matrix[j * n + j]!;
    }
  }
  for (let i = 0; i < n; i += 1) {
    for (let k = 0; k < i; k += 1) vector[i]! -= matrix[i * n + k]! * vector[k]!;
    vector[i]! /= matrix[i * n + i]!;
  }
  for (let i = n - 1; i >= 0; i -= 1) {
    for (let k = i + 1; k < n; k += 1) vector[i]! -= matrix[k * n + i]! * vector[k]!;
    vector[i]! /= matrix[i * n + i]!;
  }
  return vector;
}

/** Mean and standard deviation of every column. */
function moments(rows: readonly Float64Array[]): {
  readonly mean: Float64Array;
  readonly deviation: Float64Array;
} {
  const dimension = rows[0]!.length;
  const mean = new Float64Array(dimension);
  const deviation = new Float64Array(dimension);
  for (const row of rows)
    row.forEach((value, axis) => {
      mean[axis]! += value / rows.length;
    });
  for (const row of rows) {
    row.forEach((value, axis) => {
      deviation[axis]! += (value - mean[axis]!) ** 2 / rows.length;
    });
  }
  return { mean, deviation: deviation.map((value) => Math.sqrt(value) + 1e-9) };
}

/**
 * Logistic regression by Newton's method; both views have the same weight in all.
 * @param means mean embedding of every image
 * @param isSecond whether an image is of the second view
 */
export function fitViewModel(
  means: readonly Float64Array[],
  isSecond: readonly boolean[],
  names: readonly [string, string],
): ViewModel {
  const { mean, deviation } = moments(means);
  const n = mean.length + 1;
  const rows = means.map((row) =>
    Float64Array.from({ length: n }, (_, axis) =>
      axis === n - 1 ? 1 : (row[axis]! - mean[axis]!) / deviation[axis]!,
    ),
  );
  const secondCount = isSecond.filter(Boolean).length;
  const classWeight = [0.5 / (rows.length - secondCount), 0.5 / secondCount];
  let beta = new Float64Array(n);
  for (let step = 0; step < NEWTON_STEPS; step += 1) {
    const gradient = beta.map((value, axis) => (axis === n - 1 ? 0 : -PENALTY * value));
    const hessian = new Float64Array(n * n);
    for (let axis = 0; axis < n; axis += 1) hessian[axis * n + axis] = axis === n - 1 ? 1e-9 : PENALTY;
    rows.forEach((row, image) => {
      const weight = classWeight[Number(isSecond[image])]!;
      const p = 1 / (1 + Math.exp(-row.reduce((sum, value, axis) => sum + value * beta[axis]!, 0)));
      const residual = weight * (Number(isSecond[image]) - p);
      const curvature = weight * Math.max(p * (1 - p), 1e-6);
      for (let i = 0; i < n; i += 1) {
        gradient[i]! += residual * row[i]!;
        const scaled = curvature * row[i]!;
        for (let j = 0; j <= i; j += 1) hessian[i * n + j]! += scaled * row[j]!;
      }
    });
    const change = solve(hessian, gradient);
    beta = beta.map((value, axis) => value + change[axis]!);
  }
  const weights = Array.from(deviation, (value, axis) => beta[axis]! / value);
  const bias = weights.reduce((sum, weight, axis) => sum - weight * mean[axis]!, beta[n - 1]!);
  return { names: [...names], weights, bias };
}

/** Probability of the second view of every image, by models that were fitted without the images of its fold. */
export function crossFittedViews(
  means: readonly Float64Array[],
  isSecond: readonly boolean[],
  folds: readonly number[],
): number[] {
  const models = new Map(
    [...new Set(folds)].map((fold) => {
      const others = folds.flatMap((each, image) => (each === fold ? [] : [image]));
      const model = fitViewModel(
        others.map((image) => means[image]!),
        others.map((image) => isSecond[image]!),
        ['', ''],
      );
      return [fold, model] as const;
    }),
  );
  return means.map((mean, image) => secondViewProbability(models.get(folds[image]!)!, mean));
}
