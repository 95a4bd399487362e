/**
 * Lesions drawn into normal radiographs, to choose settings without looking at a single diseased one
 * (docs/results/2026-11/detection.md). They resemble no particular disease on purpose. Deterministic.
 */
import type { DecodedImage } from '../../src/imaging/decode/decode.js';
import { createRandomSource, NoiseField, type RandomSource } from '../../src/phantom/random-source.js';

/** Grey levels of an 8-bit image as float64 [rows, columns]. */
interface Picture {
  readonly rows: number;
  readonly columns: number;
  readonly values: Float64Array;
}

interface Place {
  readonly y: number;
  readonly x: number;
  /** Half axes in pixels. */
  readonly radiusY: number;
  readonly radiusX: number;
}

/** In the middle 60 % of the image; the half axes as shares of the shorter side. */
function placeIn({ rows, columns }: Picture, random: RandomSource, low: number, high: number): Place {
  const side = Math.min(rows, columns);
  return {
    y: rows * random.between(0.2, 0.8),
    x: columns * random.between(0.2, 0.8),
    radiusY: side * random.between(low, high),
    radiusX: side * random.between(low, high),
  };
}

/** Calls back for every pixel within the ellipse times `reach`, with the distance in half axes. */
function within(
  picture: Picture,
  place: Place,
  reach: number,
  visit: (at: number, distance: number, y: number, x: number) => void,
): void {
  const { rows, columns } = picture;
  const top = Math.max(0, Math.floor(place.y - reach * place.radiusY));
  const bottom = Math.min(rows - 1, Math.ceil(place.y + reach * place.radiusY));
  const left = Math.max(0, Math.floor(place.x - reach * place.radiusX));
  const right = Math.min(columns - 1, Math.ceil(place.x + reach * place.radiusX));
  for (let y = top; y <= bottom; y += 1) {
    for (let x = left; x <= right; x += 1) {
      const distance = Math.hypot((y - place.y) / place.radiusY, (x - place.x) / place.radiusX);
      if (distance <= reach) visit(y * columns + x, distance, y, x);
    }
  }
}

/** A soft, uneven shadow: towards white, more where it was dark, so that what lies under it fades. */
function shadow(picture: Picture, random: RandomSource, low: number, high: number, strength: number): void {
  const place = placeIn(picture, random, low, high);
  const side = Math.max(picture.rows, picture.columns);
  const texture = new NoiseField(random, side, 24);
  within(picture, place, 1.6, (at, distance, y, x) => {
    const soft = Math.exp(-2 * distance * distance) * (1 + 0.3 * texture.at(x, y));
    picture.values[at]! += Math.min(0.9, strength * soft) * (235 - picture.values[at]!);
  });
}

/** A piece of the same image from another place, blended in. */
function foreignPatch(picture: Picture, random: RandomSource): void {
  const place = placeIn(picture, random, 0.06, 0.14);
  const from = placeIn(picture, random, 0.06, 0.14);
  const source = Float64Array.from(picture.values);
  within(picture, place, 1, (at, distance, y, x) => {
    const sourceY = clampIndex(Math.round(y - place.y + from.y), picture.rows);
    const sourceX = clampIndex(Math.round(x - place.x + from.x), picture.columns);
    const share = Math.min(1, 3 * (1 - distance));
    picture.values[at]! += share * (source[sourceY * picture.columns + sourceX]! - picture.values[at]!);
  });
}

/** The tissue turned and drawn towards a point. */
function localWarp(picture: Picture, random: RandomSource): void {
  const place = placeIn(picture, random, 0.1, 0.18);
  const turn = random.between(0.6, 1.1) * (random.next() < 0.5 ? -1 : 1);
  const pull = random.between(0.3, 0.5);
  const source = Float64Array.from(picture.values);
  within(picture, place, 1, (at, distance, y, x) => {
    const share = (1 - distance) ** 2 * (1 + 2 * distance);
    const angle = turn * share;
    const scale = 1 - pull * share;
    const dy = scale * (Math.cos(angle) * (y - place.y) + Math.sin(angle) * (x - place.x));
    const dx = scale * (Math.cos(angle) * (x - place.x) - Math.sin(angle) * (y - place.y));
    const sourceY = clampIndex(Math.round(place.y + dy), picture.rows);
    const sourceX = clampIndex(Math.round(place.x + dx), picture.columns);
    picture.values[at] = source[sourceY * picture.columns + sourceX]!;
  });
}

function clampIndex(value: number, size: number): number {
  return Math.min(size - 1, Math.max(0, value));
}

const DRAW = {
  /** Small to middle-sized shadow. */
  opacity: (picture: Picture, random: RandomSource) =>
    shadow(picture, random, 0.06, 0.14, random.between(0.25, 0.5)),
  /** Large, faint shadow. */
  haze: (picture: Picture, random: RandomSource) =>
    shadow(picture, random, 0.18, 0.32, random.between(0.2, 0.4)),
  patch: foreignPatch,
  warp: localWarp,
} as const satisfies Record<string, (picture: Picture, random: RandomSource) => void>;

export type SyntheticLesion = keyof typeof DRAW;
export const SYNTHETIC_LESIONS = Object.keys(DRAW) as readonly SyntheticLesion[];

/** The same image with grey levels changed by `draw`. 8-bit images only: every public set here is. */
function changed(image: DecodedImage, draw: (picture: Picture) => void): DecodedImage {
  if (image.bitsAllocated !== 8) throw new RangeError('synthetic lesions are drawn into 8-bit images');
  const picture = { rows: image.rows, columns: image.columns, values: Float64Array.from(image.samples) };
  draw(picture);
  return { ...image, samples: new Uint8Array(Uint8ClampedArray.from(picture.values)) };
}

/** @param seed of the image: the same image gets the same lesion in every comparison. */
export function withLesion(image: DecodedImage, kind: SyntheticLesion, seed: number): DecodedImage {
  return changed(image, (picture) => DRAW[kind](picture, createRandomSource(seed, kind)));
}

/** White noise of a standard deviation of `share` of the full scale. */
export function withNoise(image: DecodedImage, share: number, seed: number): DecodedImage {
  const random = createRandomSource(seed, 'noise');
  return changed(image, ({ values }) => {
    for (let i = 0; i < values.length; i += 1) values[i]! += 255 * share * random.normal();
  });
}
