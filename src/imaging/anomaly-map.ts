/** Patch scores as a picture: a dense map of robust z, and that map laid over the radiograph. */
import { SaladError } from '../errors/index.js';
import { type Geometry, patchStart } from '../geometry/geometry.js';
import { sharp } from './libvips.js';

/** How robust z becomes colour. */
export interface OverlayOptions {
  /** At or below this robust z the image shows plain. @default 1.5 */
  readonly zLow?: number;
  /** From this robust z on colour and opacity are at their top. @default 6 */
  readonly zHigh?: number;
  /** Opacity at zHigh, in (0, 1]: below 1 the anatomy stays visible. @default 0.65 */
  readonly opacityMax?: number;
}

/**
 * Overlapping patches blended into one map: every pixel is the mean of the patches that cover it, weighted by a
 * triangle over each patch's box so that a patch counts most at its centre.
 * @param patchZ robust z [patchGrid, patchGrid], NaN where not scored
 * @returns float32 [workingSize, workingSize] robust z, NaN where no scored patch covers
 */
export function blendPatches(geometry: Geometry, patchZ: Float32Array): Float32Array {
  const { workingSize: size, patchGrid, patchSize } = geometry;
  const weights = triangle(patchSize);
  const sums = new Float64Array(size * size);
  const totals = new Float64Array(size * size);
  for (let row = 0; row < patchGrid; row++) {
    for (let column = 0; column < patchGrid; column++) {
      const z = patchZ[row * patchGrid + column]!;
      if (Number.isNaN(z)) continue;
      const top = patchStart(geometry, row);
      const left = patchStart(geometry, column);
      for (let y = Math.max(0, top); y < Math.min(size, top + patchSize); y++) {
        const rowWeight = weights[y - top]!;
        for (let x = Math.max(0, left); x < Math.min(size, left + patchSize); x++) {
          const weight = rowWeight * weights[x - left]!;
          const at = y * size + x;
          sums[at] = sums[at]! + weight * z;
          totals[at] = totals[at]! + weight;
        }
      }
    }
  }
  const map = new Float32Array(size * size);
  for (let i = 0; i < map.length; i++) map[i] = totals[i]! > 0 ? sums[i]! / totals[i]! : Number.NaN;
  return map;
}

/**
 * The radiograph in grey with the map over it, as a PNG of 8-bit RGB.
 * @param pixels uint8 [size, size]
 * @param map robust z [size, size]; NaN shows plain grey
 */
export async function overlayPng(
  pixels: Uint8Array,
  map: Float32Array,
  size: number,
  options: OverlayOptions = {},
): Promise<Uint8Array> {
  if (pixels.length !== size * size || map.length !== size * size) {
    throw new SaladError(
      'INTERNAL',
      `image (${pixels.length}) and map (${map.length}) are not ${size} squared`,
    );
  }
  const rgb = overlayRgb(pixels, map, options);
  return sharp(rgb, { raw: { width: size, height: size, channels: 3 } })
    .png()
    .toBuffer();
}

/** @returns uint8 [pixels, 3] */
export function overlayRgb(pixels: Uint8Array, map: Float32Array, options: OverlayOptions = {}): Uint8Array {
  const { zLow = 1.5, zHigh = 6, opacityMax = 0.65 } = options;
  const table = infernoTable();
  const rgb = new Uint8Array(pixels.length * 3);
  for (let i = 0, at = 0; i < pixels.length; i++, at += 3) {
    const grey = pixels[i]!;
    const share = (map[i]! - zLow) / (zHigh - zLow);
    // NaN fails the comparison: what was not scored is never coloured.
    const strength = share > 0 ? Math.min(1, share) : 0;
    const opacity = opacityMax * strength;
    const color = 3 * Math.round(255 * strength);
    for (let channel = 0; channel < 3; channel++) {
      rgb[at + channel] = Math.round((1 - opacity) * grey + opacity * table[color + channel]!);
    }
  }
  return rgb;
}

/** 1 at the centre, falling linearly, still above 0 at the outermost pixel. */
function triangle(size: number): Float64Array {
  return Float64Array.from(
    { length: size },
    (_, i) => 1 - Math.abs((2 * i + 1) / size - 1) * (1 - 1 / (2 * size)),
  );
}

/** Ten evenly spaced colours of matplotlib's inferno: perceptually uniform, readable without colour vision. */
const INFERNO = [
  0x000004, 0x1b0c42, 0x4b0c6b, 0x781c6d, 0xa52c60, 0xcf4446, 0xed6925, 0xfb9a06, 0xf7d03c, 0xfcffa4,
] as const;

/** The map starts here: inferno's darkest third would only blacken the image, not colour it. */
const INFERNO_START = 0.35;

/** uint8 [256, 3], interpolated between the ten colours. */
function infernoTable(): Uint8Array {
  const table = new Uint8Array(256 * 3);
  for (let i = 0; i < 256; i++) {
    const position = (INFERNO_START + (1 - INFERNO_START) * (i / 255)) * (INFERNO.length - 1);
    const below = Math.min(INFERNO.length - 2, Math.floor(position));
    const share = position - below;
    for (let channel = 0; channel < 3; channel++) {
      const shift = 16 - 8 * channel;
      const low = (INFERNO[below]! >> shift) & 0xff;
      const high = (INFERNO[below + 1]! >> shift) & 0xff;
      table[3 * i + channel] = Math.round(low + (high - low) * share);
    }
  }
  return table;
}
