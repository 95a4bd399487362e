/** Colour scale of robust z: it begins at the calibrated threshold and includes the highest value of the image. */
import { INFERNO } from './inferno.js';

/** Range of robust z that has colours: none below `from`, the last colour at `to`. */
export interface ColourScale {
  /** The threshold of the image score. */
  readonly from: number;
  readonly to: number;
}

/** Smallest length of a scale in robust z: images of a model have the same colours unless one of them exceeds it. */
export const SCALE_LENGTH_MIN = 3;
/** Position in the colour map where the scale begins; darker colours would hide the picture. */
const FIRST_COLOUR = 0.38;
/** Opacity at the beginning of the scale (clearly visible) and at its end (the anatomy stays visible). */
const OPACITY = { from: 0.34, to: 0.6 } as const;
/** Number of colours from which a client draws the scale, evenly spaced in robust z. */
const STOPS = 7;
/** Number of steps of the table of colours. */
const STEPS = 255;

/** Red, green and blue of 0 to 255; opacity in [0, 1]. */
export interface Colour {
  readonly red: number;
  readonly green: number;
  readonly blue: number;
  readonly opacity: number;
}

/** The outline of the area above the threshold. */
export const CONTOUR: Colour = { red: 64, green: 224, blue: 255, opacity: 0.9 };

/** @param map robust z, NaN where nothing was scored */
export function colourScaleOf(threshold: number, map: Float32Array): ColourScale {
  let to = threshold + SCALE_LENGTH_MIN;
  for (const z of map) if (z > to && Number.isFinite(z)) to = z;
  return { from: threshold, to };
}

/** @param share 0 at the beginning of the scale, 1 at its end */
export function colourAt(share: number): Colour {
  const at = 3 * Math.round(255 * (FIRST_COLOUR + (1 - FIRST_COLOUR) * share));
  return {
    red: INFERNO[at]!,
    green: INFERNO[at + 1]!,
    blue: INFERNO[at + 2]!,
    opacity: OPACITY.from + (OPACITY.to - OPACITY.from) * share,
  };
}

/** @returns 0 where nothing is drawn, else 1 to 256: an index of `colourTable` */
export function colourIndex({ from, to }: ColourScale, z: number): number {
  // NaN fails the comparison: what was not scored is never coloured.
  if (!(z > from)) return 0;
  return 1 + Math.round(STEPS * Math.min(1, (z - from) / (to - from)));
}

/** Colours by `colourIndex`; the first is transparent. */
export function colourTable(): readonly Colour[] {
  const none = { red: 0, green: 0, blue: 0, opacity: 0 };
  return [none, ...Array.from({ length: STEPS + 1 }, (_, step) => colourAt(step / STEPS))];
}

/** A colour of the scale with its robust z. */
export interface ColourStop extends Colour {
  readonly robustZ: number;
  /** Share of calibration patches with a robust z at least this high, in (0, 1]. */
  readonly pValue: number;
}

/**
 * Evenly spaced colours from the beginning of the scale to its end, to be interpolated linearly.
 * @param pValueOf p-value of a robust z
 */
export function colourStops(
  { from, to }: ColourScale,
  pValueOf: (robustZ: number) => number,
): readonly ColourStop[] {
  return Array.from({ length: STOPS }, (_, stop) => {
    const share = stop / (STOPS - 1);
    const robustZ = from + (to - from) * share;
    return { robustZ, pValue: pValueOf(robustZ), ...colourAt(share) };
  });
}
