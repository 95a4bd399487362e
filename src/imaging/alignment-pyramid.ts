/**
 * The levels of the pyramid on which an alignment is estimated: the centre-weighted cost of a map, and its linearisation
 * (Gauss-Newton, Lucas and Kanade 1981).
 */
import { type AlignmentMap, matrixOf, PARAMETERS, sample, toMap, warp } from './alignment-map.js';

/** Side of the reference, and of the finest level. */
export const ALIGNMENT_SIZE = 56;
/** Standard deviation of the Gaussian centre weight, in half sides. */
const WEIGHT_SIGMA = 0.7;
/** Weight of the prior towards the identity, per parameter, in units of the mean squared grey difference. */
const PRIOR = { shift: 0.3, scale: 0.3, angle: 0.3 } as const;
const PRIORS = [PRIOR.shift, PRIOR.shift, PRIOR.scale, PRIOR.scale, PRIOR.angle];

/** Mean over boxes: [size, size] -> [target, target]; `size` need not be a multiple. */
export function shrink(pixels: ArrayLike<number>, size: number, target: number): Float64Array {
  const out = new Float64Array(target * target);
  const edge = (i: number): number => Math.round((i * size) / target);
  for (let row = 0; row < target; row++) {
    for (let column = 0; column < target; column++) {
      let sum = 0;
      for (let y = edge(row); y < edge(row + 1); y++) {
        for (let x = edge(column); x < edge(column + 1); x++) sum += pixels[y * size + x]!;
      }
      out[row * target + column] = sum / ((edge(row + 1) - edge(row)) * (edge(column + 1) - edge(column)));
    }
  }
  return out;
}

function centreWeights(size: number): Float64Array {
  return Float64Array.from({ length: size * size }, (_, i) => {
    const y = ((Math.floor(i / size) + 0.5) * 2) / size - 1;
    const x = (((i % size) + 0.5) * 2) / size - 1;
    return Math.exp(-(y * y + x * x) / (2 * WEIGHT_SIGMA * WEIGHT_SIGMA));
  });
}

/** Weighted mean of the products a[i] * b[i]. @param total sum of the weights */
function weightedMean(weights: Float64Array, a: Float64Array, b: Float64Array, total: number): number {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += weights[i]! * a[i]! * b[i]!;
  return sum / total;
}

/** Solves a x = b by Gaussian elimination with pivoting; `a` is small and positive definite. */
function solve(a: number[][], b: number[]): number[] {
  const n = b.length;
  const rows = a.map((row, i) => [...row, b[i]!]);
  for (let k = 0; k < n; k++) {
    let pivot = k;
    for (let i = k + 1; i < n; i++) if (Math.abs(rows[i]![k]!) > Math.abs(rows[pivot]![k]!)) pivot = i;
    [rows[k], rows[pivot]] = [rows[pivot]!, rows[k]!];
    for (let i = k + 1; i < n; i++) {
      const factor = rows[i]![k]! / rows[k]![k]!;
      for (let j = k; j <= n; j++) rows[i]![j]! -= factor * rows[k]![j]!;
    }
  }
  const x = new Array<number>(n).fill(0);
  for (let k = n - 1; k >= 0; k--) {
    let sum = rows[k]![n]!;
    for (let j = k + 1; j < n; j++) sum -= rows[k]![j]! * x[j]!;
    x[k] = sum / rows[k]![k]!;
  }
  return x;
}

/** Central differences down and right, per half side. */
function slopesOf(pixels: Float64Array, size: number): readonly [Float64Array, Float64Array] {
  const at = (y: number, x: number): number =>
    pixels[Math.min(size - 1, Math.max(0, y)) * size + Math.min(size - 1, Math.max(0, x))]!;
  const down = new Float64Array(pixels.length);
  const right = new Float64Array(pixels.length);
  for (let y = 0; y < size; y++) {
    for (let x = 0; x < size; x++) {
      down[y * size + x] = ((at(y + 1, x) - at(y - 1, x)) * size) / 4;
      right[y * size + x] = ((at(y, x + 1) - at(y, x - 1)) * size) / 4;
    }
  }
  return [down, right];
}

/** One level of the reference's pyramid; all images share it. */
export class ReferenceLevel {
  readonly values: Float64Array;
  readonly weights: Float64Array;
  readonly total: number;
  readonly #ones: Float64Array;

  constructor(
    reference: ArrayLike<number>,
    readonly size: number,
  ) {
    this.weights = centreWeights(size);
    this.#ones = new Float64Array(size * size).fill(1);
    this.total = this.weights.reduce((sum, weight) => sum + weight, 0);
    this.values = shrink(reference, ALIGNMENT_SIZE, size);
    this.standardise(this.values);
  }

  /** Standardises to weighted mean 0 and variance 1, in place; an image without contrast becomes 0. @returns the factor */
  standardise(values: Float64Array): number {
    const mean = weightedMean(this.weights, values, this.#ones, this.total);
    for (let i = 0; i < values.length; i++) values[i]! -= mean;
    const deviation = Math.sqrt(weightedMean(this.weights, values, values, this.total));
    const scale = deviation > 1e-9 ? 1 / deviation : 0;
    for (let i = 0; i < values.length; i++) values[i]! *= scale;
    return scale;
  }

  /** Correlation with the reference. @param standardised values of `standardise` */
  correlationWith(standardised: Float64Array): number {
    return weightedMean(this.weights, standardised, this.values, this.total);
  }
}

/** One level of an image's pyramid, with the cost of a map and its linearisation. */
export class ImageLevel {
  readonly size: number;
  readonly #image: Float64Array;
  readonly #down: Float64Array;
  readonly #right: Float64Array;
  readonly #level: ReferenceLevel;
  readonly #reference: Float64Array;
  readonly #weights: Float64Array;
  readonly #total: number;
  readonly #warped: Float64Array;
  #scale = 1;

  constructor(image: Float64Array, reference: ReferenceLevel) {
    this.size = reference.size;
    this.#image = image;
    [this.#down, this.#right] = slopesOf(image, this.size);
    this.#level = reference;
    this.#weights = reference.weights;
    this.#total = reference.total;
    this.#reference = reference.values;
    this.#warped = new Float64Array(image.length);
  }

  /** Weighted mean squared difference of the standardised images (2 - 2 NCC) plus the prior. */
  cost(vector: readonly number[]): number {
    warp(this.#image, this.size, toMap(vector), this.#warped);
    this.#scale = this.#level.standardise(this.#warped);
    let sum = 0;
    for (let i = 0; i < this.#warped.length; i++) {
      sum += this.#weights[i]! * (this.#warped[i]! - this.#reference[i]!) ** 2;
    }
    return sum / this.#total + vector.reduce((all, value, i) => all + PRIORS[i]! * value * value, 0);
  }

  /** The damped Gauss-Newton step from the map whose cost was computed last. */
  step(vector: readonly number[], damping: number): number[] {
    const { dd, d, ds, de, s, ss, e, se } = this.#moments(toMap(vector));
    const scale = this.#scale;
    // The standardised image changes by scale (d - mean d) - along s: changes of brightness and contrast are projected out.
    const along = ds.map((value) => value * scale);
    const normal = d.map((mean, i) =>
      d.map(
        (other, j) =>
          scale * scale * (dd[i]![j]! - mean * other) -
          scale * (along[j]! * (ds[i]! - mean * s) + along[i]! * (ds[j]! - other * s)) +
          along[i]! * along[j]! * ss +
          (i === j ? PRIORS[i]! + damping : 0),
      ),
    );
    return solve(
      normal,
      d.map((mean, i) => -(scale * (de[i]! - mean * e) - along[i]! * se + PRIORS[i]! * vector[i]!)),
    );
  }

  /**
   * Weighted means, in one pass, of d (change of the warped image with each parameter), s (the standardised warped
   * image), e (s less the reference) and their products.
   */
  #moments(map: AlignmentMap) {
    const { size } = this;
    const count = PARAMETERS.length;
    const [yy, yx, xy, xx] = matrixOf(map);
    const half = size / 2;
    const middle = (size - 1) / 2;
    const slope = new Float64Array(count);
    const products = new Float64Array(count * count);
    const [d, ds, de] = [new Float64Array(count), new Float64Array(count), new Float64Array(count)];
    const sums = { s: 0, ss: 0, e: 0, se: 0 };
    for (let at = 0; at < size * size; at++) {
      const v = (Math.floor(at / size) - middle) / half;
      const u = ((at % size) - middle) / half;
      const y = (map.shiftY + yy * v + yx * u) * half + middle;
      const x = (map.shiftX + xy * v + xx * u) * half + middle;
      const down = sample(this.#down, size, y, x);
      const right = sample(this.#right, size, y, x);
      slope[0] = down;
      slope[1] = right;
      slope[2] = (down * yy + right * xy) * v;
      slope[3] = (down * yx + right * xx) * u;
      slope[4] = down * (xy * v + xx * u) - right * (yy * v + yx * u);
      const weight = this.#weights[at]! / this.#total;
      const s = this.#warped[at]!;
      const e = s - this.#reference[at]!;
      sums.s += weight * s;
      sums.ss += weight * s * s;
      sums.e += weight * e;
      sums.se += weight * s * e;
      for (let i = 0; i < count; i++) {
        const weighted = weight * slope[i]!;
        d[i]! += weighted;
        ds[i]! += weighted * s;
        de[i]! += weighted * e;
        for (let j = 0; j <= i; j++) products[i * count + j]! += weighted * slope[j]!;
      }
    }
    const indices = Array.from(slope.keys());
    const dd = indices.map((i) => indices.map((j) => products[Math.max(i, j) * count + Math.min(i, j)]!));
    return { ...sums, dd, d: [...d], ds: [...ds], de: [...de] };
  }
}
