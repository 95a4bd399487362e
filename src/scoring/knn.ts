/**
 * Patch scores from the nearest prototypes: the mean of K distances, or the weighted form W1
 * (docs/explanation/salad-method.md, section 7).
 */
import type { ScoringSpec } from '../geometry/specifications.js';

/** The fields of a bundle's scoring section that turn neighbours into a patch score. */
export type PatchScoringSpec = Pick<ScoringSpec, 'distance' | 'form' | 'temperature'>;

/** Distance of two unit vectors from their squared Euclidean distance, which is in [0, 4]. */
export function distanceFromSquaredChord(squared: number, distance: PatchScoringSpec['distance']): number {
  const chord = Math.min(2, Math.sqrt(squared));
  return distance === 'angular' ? (2 * Math.asin(chord / 2)) / Math.PI : chord;
}

function cosineFromDistance(value: number, distance: PatchScoringSpec['distance']): number {
  return distance === 'angular' ? Math.cos(Math.PI * value) : 1 - (value * value) / 2;
}

/** Softmax of cosines / temperature, in float64. */
export function neighbourWeights(cosines: readonly number[], temperature: number): number[] {
  const largest = Math.max(...cosines);
  const unnormalised = cosines.map((cosine) => Math.exp((cosine - largest) / temperature));
  const sum = unnormalised.reduce((total, value) => total + value, 0);
  return unnormalised.map((value) => value / sum);
}

/**
 * Score of one patch from `distances[offset .. offset + k)`: their mean (as in SALAD's public code), or their sum
 * with softmax weights (W1, never above the mean).
 */
export function patchScoreFromDistances(
  distances: ArrayLike<number>,
  offset: number,
  k: number,
  scoring: PatchScoringSpec,
): number {
  let sum = 0;
  if (scoring.form === 'mean') {
    for (let index = offset; index < offset + k; index++) sum += distances[index]!;
    return sum / k;
  }
  const own = Array.from({ length: k }, (_, index) => distances[offset + index]!);
  const weights = neighbourWeights(
    own.map((value) => cosineFromDistance(value, scoring.distance)),
    scoring.temperature,
  );
  for (let index = 0; index < k; index++) sum += weights[index]! * own[index]!;
  return sum;
}

/** Squared Euclidean distance of two rows, in float64. */
export function squaredDistance(
  a: ArrayLike<number>,
  aOffset: number,
  b: ArrayLike<number>,
  bOffset: number,
  dimension: number,
): number {
  let sum = 0;
  for (let index = 0; index < dimension; index++) {
    const difference = a[aOffset + index]! - b[bOffset + index]!;
    sum += difference * difference;
  }
  return sum;
}
