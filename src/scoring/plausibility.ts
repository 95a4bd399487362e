/**
 * Decides whether an image is of the kind that a model was trained on, from the mean embeddings of its regions
 * (docs/explanation/plausibility.md): its distance from the normal images within and outside of their principal
 * directions, and whether it is mirrored.
 */
import { columnOf, rowOf } from '../geometry/cells.js';
import type { PlausibilitySpec } from '../geometry/specifications.js';

/** What was fitted on normal images. F = regions * regions * D numbers describe an image. */
export interface PlausibilityTensors {
  /** float32 [F]: of normal images. */
  readonly mean: Float32Array;
  /** float32 [F]: 1 / standard deviation. */
  readonly scale: Float32Array;
  /** float32 [K, F]: unit principal directions of the standardised normals. */
  readonly components: Float32Array;
  /** float32 [K]: variances along them. */
  readonly variances: Float32Array;
  /** float32 [F]: its product with an image is high for normals and low for mirrored normals. */
  readonly mirror: Float32Array;
}

/** The section of the manifest and the tensors beside it. */
export interface PlausibilityGate {
  readonly spec: PlausibilitySpec;
  readonly tensors: PlausibilityTensors;
}

export interface PlausibilityDistances {
  /** Root mean square in standard deviations; near 1 for normals. */
  readonly within: number;
  readonly outside: number;
  /** Positive for the right way round. */
  readonly mirror: number;
}

/** Why an image is not plausible. */
export type Implausible = 'unlike' | 'mirrored' | 'negative';

/**
 * Mean embedding of every region, float64 [regions * regions * D]. The grid is cut into nearly equal regions.
 * @param embeddings float32 [patchGrid squared, D]
 */
export function regionMeans(embeddings: Float32Array, patchGrid: number, regions: number): Float64Array {
  const dimension = embeddings.length / patchGrid ** 2;
  const means = new Float64Array(regions * regions * dimension);
  const regionOf = Int32Array.from({ length: patchGrid }, (_, at) => Math.floor((at * regions) / patchGrid));
  const cellsAlong = new Int32Array(regions);
  for (const region of regionOf) cellsAlong[region]! += 1;
  for (let cell = 0; cell < patchGrid ** 2; cell += 1) {
    const [row, column] = [regionOf[rowOf(cell, patchGrid)]!, regionOf[columnOf(cell, patchGrid)]!];
    const weight = 1 / (cellsAlong[row]! * cellsAlong[column]!);
    const to = (row * regions + column) * dimension;
    const from = cell * dimension;
    for (let axis = 0; axis < dimension; axis += 1) means[to + axis]! += weight * embeddings[from + axis]!;
  }
  return means;
}

/** @param features float64 [F], as of `regionMeans` */
export function plausibilityDistances(
  tensors: PlausibilityTensors,
  { noise, mirrorOffset }: Pick<PlausibilitySpec, 'noise' | 'mirrorOffset'>,
  features: Float64Array,
): PlausibilityDistances {
  const { mean, scale, components, variances } = tensors;
  const count = variances.length;
  const size = mean.length;
  const standardised = features.map((value, axis) => (value - mean[axis]!) * scale[axis]!);
  const dot = (values: Float32Array, from: number): number => {
    let sum = 0;
    for (let axis = 0; axis < size; axis += 1) sum += standardised[axis]! * values[from + axis]!;
    return sum;
  };
  const total = standardised.reduce((sum, value) => sum + value * value, 0);
  let [within, energy] = [0, 0];
  for (let k = 0; k < count; k += 1) {
    const along = dot(components, k * size);
    within += (along * along) / variances[k]!;
    energy += along * along;
  }
  return {
    within: Math.sqrt(within / count),
    outside: Math.sqrt(Math.max(0, total - energy) / (noise * (size - count))),
    mirror: dot(tensors.mirror, 0) + mirrorOffset,
  };
}

/** @returns undefined for a plausible image */
export function implausibility(
  limits: Pick<PlausibilitySpec, 'within' | 'outside' | 'mirror'>,
  { within, outside, mirror }: PlausibilityDistances,
): Implausible | undefined {
  if (within > limits.within || outside > limits.outside) return 'unlike';
  return mirror < limits.mirror ? 'mirrored' : undefined;
}

/** Judges an image by its embeddings, float32 [patchGrid squared, D]. @returns undefined for a plausible image */
export function judgePlausibility(
  { spec, tensors }: PlausibilityGate,
  embeddings: Float32Array,
  patchGrid: number,
): Implausible | undefined {
  const features = regionMeans(embeddings, patchGrid, spec.regions);
  return implausibility(spec, plausibilityDistances(tensors, spec, features));
}
