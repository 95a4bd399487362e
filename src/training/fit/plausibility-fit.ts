/**
 * Fits the plausibility gate on normal images and their mirrored copies. Its limits come from normals that each were
 * left out of the fit (docs/explanation/plausibility.md).
 */
import { roundToFloat16 } from '../../network/float16.js';
import { quantileOfSorted } from '../../scoring/calibration.js';
import {
  implausibility,
  type PlausibilityDistances,
  type PlausibilityGate,
  type PlausibilityTensors,
  plausibilityDistances,
} from '../../scoring/plausibility.js';
import { FOLD_COUNT } from '../data/patient-folds.js';
import { dotProduct, principalComponents } from './principal-components.js';

/** With fewer normals there is no gate: its limits would be guesses. */
export const GATE_IMAGES_MIN = 200;
/** Most normals that are mirrored. */
export const MIRRORED_IMAGES_MAX = 400;

const COMPONENTS = 16;
const MIRROR_COMPONENTS = 64;
/** Added to a standard deviation, so that a constant number has no effect. */
const DEVIATION_FLOOR = 1e-3;
/** Added to a variance, as a share of the mean variance of the components. */
const VARIANCE_FLOOR = 0.05;
/** A limit is this quantile of the normals' distances ... */
const QUANTILE = 0.9975;
/** ... times this: abnormal images are further from the mean than normals, and other kinds of images further than both. */
const MARGIN = 1.1;
/** Mirrored normals have negative values; the lowest of thousands of normals had positive ones. */
const MIRROR_LIMIT = -0.75;

/** Features of normals (region means), and of mirrored copies of some of them. */
export interface GateData {
  readonly features: readonly Float64Array[];
  /** Fold of every normal. */
  readonly folds: readonly number[];
  readonly mirrored: readonly { readonly index: number; readonly features: Float64Array }[];
  readonly regions: number;
  readonly seed: number;
}

function meanOf(rows: readonly Float64Array[]): Float64Array {
  const mean = new Float64Array(rows[0]!.length);
  for (const row of rows) for (let i = 0; i < mean.length; i += 1) mean[i]! += row[i]! / rows.length;
  return mean;
}

function scaleOf(rows: readonly Float64Array[], mean: Float64Array): Float64Array {
  const variance = new Float64Array(mean.length);
  for (const row of rows) {
    for (let i = 0; i < mean.length; i += 1) variance[i]! += (row[i]! - mean[i]!) ** 2 / rows.length;
  }
  return variance.map((value) => 1 / (Math.sqrt(value) + DEVIATION_FLOOR));
}

/** Solves the symmetric positive definite system by Gaussian elimination; overwrites both. */
function solveInPlace(matrix: Float64Array, vector: Float64Array): Float64Array {
  const n = vector.length;
  for (let k = 0; k < n; k += 1) {
    for (let i = k + 1; i < n; i += 1) {
      const factor = matrix[i * n + k]! / matrix[k * n + k]!;
      for (let j = k; j < n; j += 1) matrix[i * n + j]! -= factor * matrix[k * n + j]!;
      vector[i]! -= factor * vector[k]!;
    }
  }
  for (let k = n - 1; k >= 0; k -= 1) {
    for (let j = k + 1; j < n; j += 1) vector[k]! -= matrix[k * n + j]! * vector[j]!;
    vector[k]! /= matrix[k * n + k]!;
  }
  return vector;
}

/**
 * Linear discriminant between normals and mirrored normals on their first principal components.
 * @param normals standardised, as `mirrored`
 * @returns its value is 0 half-way, in standard deviations of the normals
 */
function fitMirror(
  normals: readonly Float64Array[],
  mirrored: readonly Float64Array[],
  seed: number,
): { readonly mirror: Float64Array; readonly mirrorOffset: number } {
  const { vectors } = principalComponents([...normals, ...mirrored], MIRROR_COMPONENTS, seed);
  const n = vectors.length;
  const projected = [normals, mirrored].map((rows) =>
    rows.map((row) => Float64Array.from(vectors, (vector) => dotProduct(row, vector))),
  );
  const means = projected.map(meanOf);
  const within = new Float64Array(n * n);
  projected.forEach((rows, side) => {
    for (const row of rows) {
      for (let i = 0; i < n; i += 1) {
        for (let j = 0; j < n; j += 1) {
          within[i * n + j]! += ((row[i]! - means[side]![i]!) * (row[j]! - means[side]![j]!)) / rows.length;
        }
      }
    }
  });
  const trace = vectors.reduce((sum, _, i) => sum + within[i * n + i]!, 0);
  for (let i = 0; i < n; i += 1) within[i * n + i]! += (VARIANCE_FLOOR * trace) / n;
  const weights = solveInPlace(
    within,
    means[0]!.map((value, i) => value - means[1]![i]!),
  );
  const half = means[0]!.reduce((sum, value, i) => sum + (weights[i]! * (value + means[1]![i]!)) / 2, 0);
  const values = projected[0]!.map((row) => dotProduct(row, weights));
  const centre = values.reduce((sum, value) => sum + value, 0) / values.length;
  const deviation = Math.sqrt(values.reduce((sum, value) => sum + (value - centre) ** 2, 0) / values.length);
  const mirror = new Float64Array(normals[0]!.length);
  vectors.forEach((vector, k) => {
    const weight = weights[k]! / deviation;
    for (let axis = 0; axis < mirror.length; axis += 1) mirror[axis]! += weight * vector[axis]!;
  });
  return { mirror, mirrorOffset: -half / deviation };
}

interface GateModel {
  readonly tensors: PlausibilityTensors;
  readonly spec: Pick<PlausibilityGate['spec'], 'noise' | 'mirrorOffset'>;
}

/** Fits on some of the normals. @param isUsed by index of the normal */
function fitModel(data: GateData, isUsed: (index: number) => boolean): GateModel {
  const normals = data.features.filter((_, index) => isUsed(index));
  const mean = meanOf(normals);
  const scale = scaleOf(normals, mean);
  const standardise = (row: Float64Array): Float64Array =>
    row.map((value, axis) => (value - mean[axis]!) * scale[axis]!);
  const rows = normals.map(standardise);
  const { vectors, variances } = principalComponents(rows, COMPONENTS, data.seed);
  const meanVariance = variances.reduce((sum, value) => sum + value, 0) / variances.length;
  const total = rows.reduce((sum, row) => sum + dotProduct(row, row), 0) / rows.length;
  const others = total - meanVariance * variances.length;
  const pairs = data.mirrored.filter(({ index }) => isUsed(index));
  const { mirror, mirrorOffset } = fitMirror(
    pairs.map(({ index }) => standardise(data.features[index]!)),
    pairs.map(({ features }) => standardise(features)),
    data.seed,
  );
  return {
    tensors: {
      mean: Float32Array.from(mean),
      scale: Float32Array.from(scale),
      // As the bundle stores them.
      components: roundToFloat16(Float32Array.from(vectors.flatMap((vector) => [...vector]))),
      variances: Float32Array.from(variances, (value) => value + VARIANCE_FLOOR * meanVariance),
      mirror: Float32Array.from(mirror),
    },
    spec: { noise: others / (mean.length - variances.length), mirrorOffset },
  };
}

export interface FittedGate {
  readonly gate: PlausibilityGate;
  /** Share of the normals that a gate fitted without their fold finds implausible. */
  readonly flaggedShare: number;
  /** Share of the mirrored normals that it finds implausible. */
  readonly mirroredShare: number;
}

export function fitPlausibility(data: GateData): FittedGate {
  const distances: PlausibilityDistances[] = [];
  const mirrorValues: number[] = [];
  for (let fold = 0; fold < FOLD_COUNT; fold += 1) {
    const model = fitModel(data, (index) => data.folds[index] !== fold);
    data.features.forEach((row, index) => {
      if (data.folds[index] === fold)
        distances[index] = plausibilityDistances(model.tensors, model.spec, row);
    });
    for (const { index, features } of data.mirrored) {
      if (data.folds[index] === fold)
        mirrorValues.push(plausibilityDistances(model.tensors, model.spec, features).mirror);
    }
  }
  const limitOf = (key: 'within' | 'outside'): number => {
    const sorted = distances.map((each) => each[key]).sort((a, b) => a - b);
    return MARGIN * quantileOfSorted(sorted, QUANTILE);
  };
  const limits = { within: limitOf('within'), outside: limitOf('outside'), mirror: MIRROR_LIMIT };
  const flagged = distances.filter((each) => implausibility(limits, each) !== undefined);
  const { tensors, spec } = fitModel(data, () => true);
  return {
    gate: { tensors, spec: { regions: data.regions, ...limits, ...spec } },
    flaggedShare: flagged.length / distances.length,
    mirroredShare: mirrorValues.filter((value) => value < MIRROR_LIMIT).length / mirrorValues.length,
  };
}
