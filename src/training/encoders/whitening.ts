/**
 * The global whitening of patch descriptors (docs/explanation/salad-method.md, section 8):
 * W = U / sqrt(s + shrinkage * mean(s)), with U and s the eigenvectors and eigenvalues of the covariance of the fit
 * patches. It is a 1x1 convolution after the network, followed by division by the L2 norm.
 */
import type { NetworkNode, WeightTensor } from '../../network/description.js';

/** Running float64 mean and covariance of float32 rows; independent of their order except for rounding. */
export class Covariance {
  readonly dimension: number;
  #count = 0;
  readonly #sum: Float64Array;
  readonly #products: Float64Array;

  constructor(dimension: number) {
    this.dimension = dimension;
    this.#sum = new Float64Array(dimension);
    this.#products = new Float64Array(dimension * dimension);
  }

  get count(): number {
    return this.#count;
  }

  /** @param row float32 [dimension], with values near zero, because products are summed without centring */
  add(row: Float32Array): void {
    const d = this.dimension;
    this.#count += 1;
    for (let i = 0; i < d; i += 1) {
      const value = row[i]!;
      this.#sum[i]! += value;
      if (value === 0) continue;
      for (let j = i; j < d; j += 1) this.#products[i * d + j]! += value * row[j]!;
    }
  }

  mean(): Float64Array {
    return this.#sum.map((value) => value / this.#count);
  }

  /** float64 [dimension, dimension], symmetric, divided by n. */
  covariance(): Float64Array {
    const d = this.dimension;
    const mean = this.mean();
    const out = new Float64Array(d * d);
    for (let i = 0; i < d; i += 1) {
      for (let j = i; j < d; j += 1) {
        const value = this.#products[i * d + j]! / this.#count - mean[i]! * mean[j]!;
        out[i * d + j] = value;
        out[j * d + i] = value;
      }
    }
    return out;
  }
}

export interface SymmetricEigen {
  /** Descending. */
  readonly values: Float64Array;
  /** float64 [n, n]: column k is the unit eigenvector of values[k], its largest component positive. */
  readonly vectors: Float64Array;
}

/** One Jacobi rotation: rotates rows and columns p and q of `a`, and columns p and q of `v`, to make a[p][q] zero. */
function rotate(a: Float64Array, v: Float64Array, n: number, p: number, q: number): void {
  const apq = a[p * n + q]!;
  const theta = (a[q * n + q]! - a[p * n + p]!) / (2 * apq);
  const t = (theta >= 0 ? 1 : -1) / (Math.abs(theta) + Math.sqrt(theta * theta + 1));
  const c = 1 / Math.sqrt(t * t + 1);
  const s = t * c;
  const rotatePair = (m: Float64Array, i: number, j: number): void => {
    const x = m[i]!;
    const y = m[j]!;
    m[i] = c * x - s * y;
    m[j] = s * x + c * y;
  };
  for (let k = 0; k < n; k += 1) rotatePair(a, k * n + p, k * n + q);
  for (let k = 0; k < n; k += 1) rotatePair(a, p * n + k, q * n + k);
  for (let k = 0; k < n; k += 1) rotatePair(v, k * n + p, k * n + q);
}

/** Eigenvectors by cyclic Jacobi: simple, accurate to rounding and the same on every machine; n is about 100 here. */
export function symmetricEigen(matrix: Float64Array, n: number): SymmetricEigen {
  const a = Float64Array.from(matrix);
  const v = new Float64Array(n * n);
  let scale = 0;
  for (let i = 0; i < n; i += 1) {
    v[i * n + i] = 1;
    scale += Math.abs(a[i * n + i]!);
  }
  for (let sweep = 0; sweep < 60; sweep += 1) {
    let off = 0;
    for (let p = 0; p < n; p += 1) {
      for (let q = p + 1; q < n; q += 1) off += Math.abs(a[p * n + q]!);
    }
    if (off <= 1e-14 * scale) break;
    for (let p = 0; p < n; p += 1) {
      for (let q = p + 1; q < n; q += 1) if (a[p * n + q] !== 0) rotate(a, v, n, p, q);
    }
  }
  const order = Array.from({ length: n }, (_, i) => i).sort((i, j) => a[j * n + j]! - a[i * n + i]! || i - j);
  const vectors = new Float64Array(n * n);
  order.forEach((from, k) => {
    let largest = 0;
    for (let i = 0; i < n; i += 1) {
      if (Math.abs(v[i * n + from]!) > Math.abs(largest)) largest = v[i * n + from]!;
    }
    const sign = largest < 0 ? -1 : 1;
    for (let i = 0; i < n; i += 1) vectors[i * n + k] = sign * v[i * n + from]!;
  });
  return { values: Float64Array.from(order, (from) => a[from * n + from]!), vectors };
}

export interface WhiteningLayer {
  readonly nodes: readonly NetworkNode[];
  readonly weights: ReadonlyMap<string, WeightTensor>;
}

export interface WhiteningOptions {
  /** Fraction of the mean eigenvalue that is added to every eigenvalue, to keep noise directions small. @default 0.1 */
  readonly shrinkage?: number;
  /**
   * Value of an extra channel that is the same for every patch. With it, unit vectors of long and short whitened
   * descriptors differ. 0 = no such channel, only the direction of a descriptor counts. @default 0
   */
  readonly constant?: number;
  /** Whether channels are divided by their standard deviation first, so that all have the same weight. @default false */
  readonly standardised?: boolean;
  /** Principal directions kept, those of the largest variance. @default all */
  readonly components?: number;
  /** Name of the convolution. @default whiten */
  readonly layer?: string;
  /** Name of the last node. @default embedding */
  readonly output?: string;
}

/** Scales every channel to unit variance. @returns the scale of every channel and the correlation matrix */
function standardise(
  covariance: Float64Array,
  d: number,
): { readonly scale: Float64Array; readonly matrix: Float64Array } {
  const scale = Float64Array.from({ length: d }, (_, i) => 1 / Math.sqrt(covariance[i * d + i]! + 1e-12));
  return {
    scale,
    matrix: covariance.map((value, at) => value * scale[Math.floor(at / d)]! * scale[at % d]!),
  };
}

/** Makes the layer: node `layer` = 1x1 convolution x -> (x - mean) W, then node `output` = its unit vector. */
export function whiteningLayer(
  statistics: Covariance,
  input: string,
  options: WhiteningOptions = {},
): WhiteningLayer {
  const { shrinkage = 0.1, constant = 0, layer = 'whiten', output = 'embedding' } = options;
  const d = statistics.dimension;
  const kept = Math.min(d, options.components ?? d);
  const outChannels = constant === 0 ? kept : kept + 1;
  const mean = statistics.mean();
  const covariance = statistics.covariance();
  const { scale, matrix } = options.standardised
    ? standardise(covariance, d)
    : { scale: undefined, matrix: covariance };
  const { values, vectors } = symmetricEigen(matrix, d);
  const floor = (shrinkage * values.reduce((sum, value) => sum + Math.max(value, 0), 0)) / d;
  const kernel = new Float32Array(d * outChannels);
  const bias = new Float32Array(outChannels).fill(constant);
  for (let k = 0; k < kept; k += 1) {
    const gain = 1 / Math.sqrt(Math.max(values[k]!, 0) + floor + 1e-12);
    let shift = 0;
    for (let i = 0; i < d; i += 1) {
      const weight = vectors[i * d + k]! * gain * (scale?.[i] ?? 1);
      kernel[i * outChannels + k] = weight;
      shift -= mean[i]! * weight;
    }
    bias[k] = shift;
  }
  return {
    nodes: [
      {
        name: layer,
        op: 'conv',
        input,
        kernelSize: 1,
        stride: 1,
        padding: 0,
        inChannels: d,
        outChannels,
        bias: true,
        trainable: false,
      },
      { name: output, op: 'l2Normalize', input: layer },
    ],
    weights: new Map([
      [`${layer}/kernel`, { shape: [1, 1, d, outChannels], data: kernel }],
      [`${layer}/bias`, { shape: [outChannels], data: bias }],
    ]),
  };
}
