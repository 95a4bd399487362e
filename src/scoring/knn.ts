/**
 * Patch scores from the nearest prototypes: mean of K distances, or the weighted form W1
 * (docs/explanation/salad-method.md, section 7).
 */

/** The part of a bundle's scoring section that turns neighbours into a score. */
export interface NeighbourScoring {
  /** angular = arccos(cos)/pi in [0, 1]; chord = sqrt(2 - 2 cos) in [0, 2]. */
  readonly distance: 'angular' | 'chord';
  readonly form: 'mean' | 'weighted';
  /** Of the softmax over cos/temperature in the weighted form. */
  readonly temperature: number;
}

/** Distance of two unit vectors by their cosine, clamped: float32 products of unit vectors exceed 1. */
export function distanceFromCosine(cosine: number, distance: NeighbourScoring['distance']): number {
  const clamped = Math.min(1, Math.max(-1, cosine));
  return distance === 'angular' ? Math.acos(clamped) / Math.PI : Math.sqrt(2 - 2 * clamped);
}

/** Distance of two unit vectors by their squared Euclidean distance in [0, 4]. */
export function distanceFromSquaredChord(squared: number, distance: NeighbourScoring['distance']): number {
  const chord = Math.min(2, Math.sqrt(squared));
  return distance === 'angular' ? (2 * Math.asin(chord / 2)) / Math.PI : chord;
}

function cosineFromDistance(value: number, distance: NeighbourScoring['distance']): number {
  return distance === 'angular' ? Math.cos(Math.PI * value) : 1 - (value * value) / 2;
}

/** Softmax of cosines/temperature, in float64. */
export function neighbourWeights(cosines: readonly number[], temperature: number): number[] {
  const largest = Math.max(...cosines);
  const raw = cosines.map((cosine) => Math.exp((cosine - largest) / temperature));
  const sum = raw.reduce((total, value) => total + value, 0);
  return raw.map((value) => value / sum);
}

/**
 * Score of one patch: the mean of `distances[offset .. offset + k)` (the score of SALAD's code), or their sum with softmax
 * weights (W1, never above the mean).
 */
export function patchScoreFromDistances(
  distances: ArrayLike<number>,
  offset: number,
  k: number,
  scoring: NeighbourScoring,
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

/**
 * Score and distances of one patch from the cosines `similarities[offset .. offset + k)`.
 * A float32 cosine near 1 holds its distance to about 3e-4 only: where both vectors are at hand,
 * `distanceFromSquaredChord` of their difference is exact.
 */
export function patchScoreFromSimilarities(
  similarities: ArrayLike<number>,
  offset: number,
  k: number,
  scoring: NeighbourScoring,
): { readonly score: number; readonly distances: Float64Array } {
  const distances = new Float64Array(k);
  for (let index = 0; index < k; index++) {
    distances[index] = distanceFromCosine(similarities[offset + index]!, scoring.distance);
  }
  return { score: patchScoreFromDistances(distances, 0, k, scoring), distances };
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
