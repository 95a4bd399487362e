/** The affine map of an alignment, from the aligned image to the given image, and its application to images. */
import type { AffineTransform } from '../geometry/affine.js';

/** Bounds: shifts in half sides, logarithms of scales, angle in radians. */
const BOUND = { shift: 0.3, scale: 0.25, angle: 0.2 } as const;

/** Maps positions in the aligned image to positions in the given image, both in half sides from the centre. */
export interface AlignmentMap {
  readonly shiftY: number;
  readonly shiftX: number;
  readonly logScaleY: number;
  readonly logScaleX: number;
  readonly angle: number;
}

export const IDENTITY: AlignmentMap = { shiftY: 0, shiftX: 0, logScaleY: 0, logScaleX: 0, angle: 0 };

/** The matrix of rotation and scales, row by row: [[yy, yx], [xy, xx]]. */
export function matrixOf(map: AlignmentMap): readonly [yy: number, yx: number, xy: number, xx: number] {
  const scaleY = Math.exp(map.logScaleY);
  const scaleX = Math.exp(map.logScaleX);
  const cos = Math.cos(map.angle);
  const sin = Math.sin(map.angle);
  return [cos * scaleY, sin * scaleX, -sin * scaleY, cos * scaleX];
}

/** @returns [y, x] in the given image of the point (y, x) of the aligned one, both in [-1, 1] inside. */
export function mapPoint(map: AlignmentMap, y: number, x: number): readonly [number, number] {
  const [yy, yx, xy, xx] = matrixOf(map);
  return [map.shiftY + yy * y + yx * x, map.shiftX + xy * y + xx * x];
}

/** Samples an image [size, size] bilinearly, border repeated; y and x in pixels (centres at whole numbers). */
export function sample(pixels: ArrayLike<number>, size: number, y: number, x: number): number {
  const cy = Math.min(size - 1, Math.max(0, y));
  const cx = Math.min(size - 1, Math.max(0, x));
  const top = Math.min(size - 2, Math.floor(cy));
  const left = Math.min(size - 2, Math.floor(cx));
  const fy = cy - top;
  const fx = cx - left;
  const at = top * size + left;
  const upper = pixels[at]! + (pixels[at + 1]! - pixels[at]!) * fx;
  const lower = pixels[at + size]! + (pixels[at + size + 1]! - pixels[at + size]!) * fx;
  return upper + (lower - upper) * fy;
}

/**
 * Warps an image [size, size] by a map.
 * @param out [size, size] warped image; a Uint8ClampedArray rounds its values
 */
export function warp(
  pixels: ArrayLike<number>,
  size: number,
  map: AlignmentMap,
  out: Uint8ClampedArray | Float64Array,
): void {
  const [yy, yx, xy, xx] = matrixOf(map);
  const middle = (size - 1) / 2;
  const startY = map.shiftY * (size / 2) + middle;
  const startX = map.shiftX * (size / 2) + middle;
  for (let row = 0; row < size; row++) {
    const v = row - middle;
    for (let column = 0; column < size; column++) {
      const u = column - middle;
      out[row * size + column] = sample(pixels, size, startY + yy * v + yx * u, startX + xy * v + xx * u);
    }
  }
}

/** Names of the parameters in the order of a map's vector. */
export const PARAMETERS = ['shiftY', 'shiftX', 'logScaleY', 'logScaleX', 'angle'] as const;
const BOUNDS = [BOUND.shift, BOUND.shift, BOUND.scale, BOUND.scale, BOUND.angle];

/** Whether a map is at a bound: a better map may exceed the bound, so the image may not be aligned. */
export function isAtBound(map: AlignmentMap): boolean {
  return PARAMETERS.some((name, i) => Math.abs(map[name]) >= BOUNDS[i]!);
}

/** The five parameters of a map, in the order of PARAMETERS. */
export function toVector(map: AlignmentMap): number[] {
  return PARAMETERS.map((name) => map[name]);
}

/** The map with these five parameters, each clamped to its bounds. */
export function toMap(vector: readonly number[]): AlignmentMap {
  const bounded = vector.map((value, i) => Math.min(BOUNDS[i]!, Math.max(-BOUNDS[i]!, value)));
  return Object.fromEntries(PARAMETERS.map((name, i) => [name, bounded[i]!])) as unknown as AlignmentMap;
}

/** The alignment of a working image to the reference. */
export interface Alignment {
  readonly map: AlignmentMap;
  /** Whether the grey levels were inverted first, because the image was a negative of the reference. */
  readonly inverted: boolean;
}

/** Numbers that encode an alignment: the map's parameters, and 1 for an inverted image, else 0. */
export const ALIGNMENT_NUMBERS = PARAMETERS.length + 1;

export function toNumbers({ map, inverted }: Alignment): number[] {
  return [...toVector(map), inverted ? 1 : 0];
}

export function fromNumbers(numbers: ArrayLike<number>): Alignment {
  const all = Array.from(numbers);
  return { map: toMap(all.slice(0, PARAMETERS.length)), inverted: all[PARAMETERS.length] === 1 };
}

/** Transform from pixels of the aligned image to pixels of the given image, both [size, size]. */
export function unaligned(map: AlignmentMap, size: number): AffineTransform {
  const [yy, yx, xy, xx] = matrixOf(map);
  const half = size / 2;
  return {
    xx,
    xy,
    x0: half * (1 + map.shiftX - xx - xy),
    yx,
    yy,
    y0: half * (1 + map.shiftY - yy - yx),
  };
}
