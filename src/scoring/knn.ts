/**
 * Patch scores from the nearest prototypes: the score SALAD's code computes (mean of K angular distances),
 * its weighted reading W1, the chord variant, and W2 for ablations. Sections 7 and 9 of the SALAD spec.
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
 * Score of one patch: `distances[offset .. offset + k)` averaged, uniformly (the score of SALAD's code) or
 * with softmax weights (W1: sum of w_k d_k, never above the uniform mean).
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

/**
 * W2, for ablations only: the angular distance to the normalised weighted combination of the K nearest
 * prototypes. It can hide an outlier that lies between clusters (docs/explanation/salad-method.md, section 7).
 * @param embedding unit vector [dimension]
 * @param prototypes unit rows [any, dimension]
 * @param neighbours row numbers of the K nearest
 * @returns arccos(z . p)/pi in [0, 1]
 */
export function weightedPrototypeDistance(
  embedding: ArrayLike<number>,
  prototypes: ArrayLike<number>,
  neighbours: ArrayLike<number>,
  temperature: number,
): number {
  const dimension = embedding.length;
  const rows = Array.from(neighbours);
  const cosines = rows.map((row) => {
    let dot = 0;
    for (let axis = 0; axis < dimension; axis++)
      dot += embedding[axis]! * prototypes[row * dimension + axis]!;
    return dot;
  });
  const weights = neighbourWeights(cosines, temperature);
  let dot = 0;
  let norm = 0;
  for (let axis = 0; axis < dimension; axis++) {
    let component = 0;
    for (let k = 0; k < rows.length; k++) component += weights[k]! * prototypes[rows[k]! * dimension + axis]!;
    dot += component * embedding[axis]!;
    norm += component * component;
  }
  // The weighted sum of opposite vectors may vanish; nothing is then nearer than orthogonal.
  return norm === 0 ? 0.5 : distanceFromCosine(dot / Math.sqrt(norm), 'angular');
}
