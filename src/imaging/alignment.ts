/**
 * Aligns working images with a reference (the mean training image). The affine map has five parameters (two shifts, two
 * scales, one angle) and minimises the centre-weighted squared difference of the standardised images, so that gain and
 * offset of the grey levels do not matter. Damped Gauss-Newton, coarse to fine, in float64.
 */
import type { InputSpec } from '../geometry/specifications.js';
import { type Alignment, type AlignmentMap, IDENTITY, toMap, toVector, warp } from './alignment-map.js';
import { ALIGNMENT_SIZE, ImageLevel, ReferenceLevel, shrink } from './alignment-pyramid.js';

/** Sides of the levels of the pyramid, coarse to fine. */
const LEVELS = [14, 28, ALIGNMENT_SIZE] as const;
const STEPS_PER_LEVEL = 12;
/**
 * Centre-weighted correlation with the reference below which an image is a negative. Of 2,748 normal radiographs of
 * three sets 12 are at -0.41 and below, each visibly a negative, and all others at -0.19 and above.
 */
const NEGATIVE_CORRELATION = -0.3;

/** Improves the parameters at one level; only steps that lower the cost are accepted. */
function refine(level: ImageLevel, start: readonly number[]): number[] {
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
      vector = refine(new ImageLevel(shrink(pixels, size, reference.size), reference), vector);
    }
    return toMap(vector);
  }

  /** Aligns a working image in place; a negative is inverted first. */
  align(pixels: Uint8Array, size: number): Alignment {
    const inverted = this.isNegative(pixels, size);
    if (inverted) for (let i = 0; i < pixels.length; i++) pixels[i] = 255 - pixels[i]!;
    const map = this.estimate(pixels, size);
    const warped = new Uint8ClampedArray(pixels.length);
    warp(pixels, size, map, warped);
    pixels.set(warped);
    return { map, inverted };
  }

  /** Whether an image, before alignment, is clearly the negative of the reference. */
  isNegative(pixels: Uint8Array, size: number): boolean {
    const reference = this.#levels[this.#levels.length - 1]!;
    const values = shrink(pixels, size, reference.size);
    reference.standardise(values);
    return reference.correlationWith(values) < NEGATIVE_CORRELATION;
  }
}

const aligners = new WeakMap<NonNullable<InputSpec['alignment']>, Aligner>();

/** The aligner of a manifest's specification, created once. */
export function alignerOf(spec: NonNullable<InputSpec['alignment']>): Aligner {
  const aligner = aligners.get(spec) ?? new Aligner(Buffer.from(spec.reference, 'base64'));
  aligners.set(spec, aligner);
  return aligner;
}
