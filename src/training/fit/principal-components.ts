/** Principal components of few rows with many columns, by subspace iteration. */
import { createRandom } from '../../util/random.js';
import { symmetricEigen } from '../encoders/whitening.js';

/** Additional directions in the iteration, so that it converges. */
const OVERSAMPLING = 16;
const ITERATIONS = 6;

export interface Components {
  /** Unit vectors, the largest variance first. */
  readonly vectors: readonly Float64Array[];
  /** Mean squared product of the rows with each of them. */
  readonly variances: readonly number[];
}

export function dotProduct(a: Float64Array, b: Float64Array): number {
  let sum = 0;
  for (let i = 0; i < a.length; i += 1) sum += a[i]! * b[i]!;
  return sum;
}

/** Gram and Schmidt, twice because once loses digits. */
function orthonormalise(vectors: readonly Float64Array[]): void {
  vectors.forEach((vector, at) => {
    for (let pass = 0; pass < 2; pass += 1) {
      for (const earlier of vectors.slice(0, at)) {
        const along = dotProduct(vector, earlier);
        for (let i = 0; i < vector.length; i += 1) vector[i]! -= along * earlier[i]!;
      }
    }
    const length = Math.sqrt(dotProduct(vector, vector)) || 1;
    for (let i = 0; i < vector.length; i += 1) vector[i]! /= length;
  });
}

/**
 * The first `count` principal directions about the origin: centre the rows for a covariance.
 * @param rows float64, all of one length
 */
export function principalComponents(rows: readonly Float64Array[], count: number, seed: number): Components {
  const size = rows[0]!.length;
  const random = createRandom(seed);
  const subspace = Array.from({ length: Math.min(count + OVERSAMPLING, size, rows.length) }, () =>
    Float64Array.from({ length: size }, () => random() - 0.5),
  );
  orthonormalise(subspace);
  for (let iteration = 0; iteration < ITERATIONS; iteration += 1) {
    const next = subspace.map(() => new Float64Array(size));
    for (const row of rows) {
      subspace.forEach((vector, k) => {
        const along = dotProduct(row, vector);
        const sum = next[k]!;
        for (let i = 0; i < size; i += 1) sum[i]! += along * row[i]!;
      });
    }
    next.forEach((vector, k) => {
      subspace[k]!.set(vector);
    });
    orthonormalise(subspace);
  }
  return rotated(rows, subspace, count);
}

/** Diagonalises the covariance within the subspace. */
function rotated(
  rows: readonly Float64Array[],
  subspace: readonly Float64Array[],
  count: number,
): Components {
  const m = subspace.length;
  const covariance = new Float64Array(m * m);
  for (const row of rows) {
    const along = subspace.map((vector) => dotProduct(row, vector));
    for (let i = 0; i < m; i += 1) {
      for (let j = 0; j < m; j += 1) covariance[i * m + j]! += (along[i]! * along[j]!) / rows.length;
    }
  }
  const { values, vectors } = symmetricEigen(covariance, m);
  const kept = Math.min(count, m);
  return {
    variances: Array.from(values.subarray(0, kept)),
    vectors: Array.from({ length: kept }, (_, k) => {
      const vector = new Float64Array(subspace[0]!.length);
      subspace.forEach((direction, i) => {
        const weight = vectors[i * m + k]!;
        for (let axis = 0; axis < vector.length; axis += 1) vector[axis]! += weight * direction[axis]!;
      });
      return vector;
    }),
  };
}
