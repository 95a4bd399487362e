/**
 * Alignment of a working image to a reference (the mean training image): the affine map of five parameters
 * (two shifts, two scales, one angle) that brings them closest, centre-weighted, whatever gain and offset the
 * grey levels have. Gauss-Newton on the squared difference (Lucas and Kanade 1981), coarse to fine, in float64.
 */
import type { InputSpec } from '../geometry/specifications.js';
import {
  type Alignment,
  type AlignmentMap,
  IDENTITY,
  matrixOf,
  PARAMETERS,
  sample,
  toMap,
  toVector,
  warp,
} from './alignment-map.js';

/** Side of the reference at which the map is estimated. */
export const ALIGNMENT_SIZE = 56;
/** Sides of the levels, coarse to fine. */
const LEVELS = [14, 28, ALIGNMENT_SIZE] as const;
const STEPS_PER_LEVEL = 12;
/** Width of the centre weight, in half sides. */
const WEIGHT_SIGMA = 0.7;
/** Pull towards the identity, per parameter, in units of the mean squared grey difference. */
const PRIOR = { shift: 0.3, scale: 0.3, angle: 0.3 } as const;
/**
 * Centre-weighted correlation with the reference below which an image is a negative. Of 2,748 normal radiographs of
 * three sets 12 are at -0.41 and below, each a negative to look at, and all others at -0.19 and above.
 */
const NEGATIVE_CORRELATION = -0.3;
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

/** Weighted sum of products over the weights' sum. */
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

/** Slopes along rows and along columns, per half side. */
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

/** One scale of the reference's pyramid: the same for every image. */
class ReferenceLevel {
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

  /** Weighted mean zero and variance one, in place; an image without contrast becomes zero. @returns the factor */
  standardise(values: Float64Array): number {
    const mean = weightedMean(this.weights, values, this.#ones, this.total);
    for (let i = 0; i < values.length; i++) values[i]! -= mean;
    const deviation = Math.sqrt(weightedMean(this.weights, values, values, this.total));
    const scale = deviation > 1e-9 ? 1 / deviation : 0;
    for (let i = 0; i < values.length; i++) values[i]! *= scale;
    return scale;
  }
}

/** One scale of an image's pyramid: what the cost and its linearisation need. */
class Level {
  readonly size: number;
  readonly #image: Float64Array;
  readonly #down: Float64Array;
  readonly #right: Float64Array;
  readonly #of: ReferenceLevel;
  readonly #reference: Float64Array;
  readonly #weights: Float64Array;
  readonly #total: number;
  readonly #warped: Float64Array;
  #scale = 1;

  constructor(image: Float64Array, reference: ReferenceLevel) {
    this.size = reference.size;
    this.#image = image;
    [this.#down, this.#right] = slopesOf(image, this.size);
    this.#of = reference;
    this.#weights = reference.weights;
    this.#total = reference.total;
    this.#reference = reference.values;
    this.#warped = new Float64Array(image.length);
  }

  /** Weighted mean squared difference of the standardised images (2 - 2 NCC) plus the prior. */
  cost(vector: readonly number[]): number {
    warp(this.#image, this.size, toMap(vector), this.#warped);
    this.#scale = this.#of.standardise(this.#warped);
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
    // The standardised image changes by scale (d - mean d) - along s: brightening and contrast are no motion.
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

/** Improves the parameters at one scale: only steps that lower the cost are taken. */
function refine(level: Level, start: readonly number[]): number[] {
  let vector = [...start];
  let cost = level.cost(vector);
  let damping = 0.01;
  for (let step = 0; step < STEPS_PER_LEVEL; step++) {
    const change = level.step(vector, damping);
    const next = toVector(toMap(vector.map((value, i) => value + change[i]!)));
    const nextCost = level.cost(next);
    if (nextCost < cost) {
      const gained = cost - nextCost;
      vector = next;
      cost = nextCost;
      damping = Math.max(1e-4, damping / 3);
      if (gained < 1e-5) break;
    } else {
      damping *= 8;
      if (damping > 10) break;
      level.cost(vector);
    }
  }
  return vector;
}

/** Aligns images with one reference. */
export class Aligner {
  readonly #levels: readonly ReferenceLevel[];

  /** @param reference [ALIGNMENT_SIZE, ALIGNMENT_SIZE] grey values of any scale. */
  constructor(reference: ArrayLike<number>) {
    this.#levels = LEVELS.map((side) => new ReferenceLevel(reference, side));
  }

  /**
   * The map that aligns an image with the reference.
   * @param pixels [size, size] grey values of any scale.
   */
  estimate(pixels: ArrayLike<number>, size: number): AlignmentMap {
    let vector = toVector(IDENTITY);
    for (const reference of this.#levels) {
      vector = refine(new Level(shrink(pixels, size, reference.size), reference), vector);
    }
    return toMap(vector);
  }

  /** Aligns a working image in place, turned over first where it is a negative. */
  align(pixels: Uint8Array, size: number): Alignment {
    const inverted = this.isNegative(pixels, size);
    if (inverted) for (let i = 0; i < pixels.length; i++) pixels[i] = 255 - pixels[i]!;
    const map = this.estimate(pixels, size);
    const warped = new Uint8ClampedArray(pixels.length);
    warp(pixels, size, map, warped);
    pixels.set(warped);
    return { map, inverted };
  }

  /** Whether an image, as it lies, is clearly the negative of the reference. */
  isNegative(pixels: Uint8Array, size: number): boolean {
    const reference = this.#levels[this.#levels.length - 1]!;
    const values = shrink(pixels, size, reference.size);
    reference.standardise(values);
    const correlation = weightedMean(reference.weights, values, reference.values, reference.total);
    return correlation < NEGATIVE_CORRELATION;
  }
}

const aligners = new WeakMap<NonNullable<InputSpec['alignment']>, Aligner>();

/** The aligner of a manifest, made once. */
export function alignerOf(spec: NonNullable<InputSpec['alignment']>): Aligner {
  const known = aligners.get(spec) ?? new Aligner(Buffer.from(spec.reference, 'base64'));
  aligners.set(spec, known);
  return known;
}
