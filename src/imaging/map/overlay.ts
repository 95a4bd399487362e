/** Draws an anomaly map in colours, over a grey picture or as a separate layer. */
import { SaladError } from '../../errors/index.js';
import { loadSharp } from '../libvips.js';
import type { MapShape } from './anomaly-map.js';
import { CONTOUR, type ColourScale, colourIndex, colourTable } from './colour-scale.js';

/** Width of the contour relative to the map's longer side; it has at least one pixel. */
const CONTOUR_SHARE = 1 / 300;
/** Rows painted in one step. */
const STEP_ROWS = 16;

const COLOURS = [...colourTable(), CONTOUR];
const CONTOUR_INDEX = COLOURS.length - 1;
const RED = Float64Array.from(COLOURS, ({ red }) => red);
const GREEN = Float64Array.from(COLOURS, ({ green }) => green);
const BLUE = Float64Array.from(COLOURS, ({ blue }) => blue);
const OPACITY = Float64Array.from(COLOURS, ({ opacity }) => opacity);

/** Finds the colour of every pixel of a map: 0 for none, an index of `colourTable`, or the contour of the coloured area. */
class MapColours {
  /** 1 where the map is not above the beginning of the scale. Outside of the map 0, so that its border has no contour. */
  readonly #below: Uint8Array;
  readonly #reach: number;
  readonly #width: number;

  constructor(
    private readonly map: Float32Array,
    private readonly shape: MapShape,
    private readonly scale: ColourScale,
  ) {
    const { rows, columns } = shape;
    if (map.length !== rows * columns) {
      throw new SaladError('INTERNAL', `a map of ${map.length} is not ${rows} x ${columns}`);
    }
    this.#reach = Math.max(1, Math.round(Math.max(rows, columns) * CONTOUR_SHARE));
    this.#width = columns + 2 * this.#reach;
    this.#below = new Uint8Array((rows + 2 * this.#reach) * this.#width);
    for (let row = 0, at = 0; row < rows; row++) {
      const line = (row + this.#reach) * this.#width + this.#reach;
      for (let column = 0; column < columns; column++, at++) {
        // NaN fails the comparison: pixels that were not scored count as below.
        this.#below[line + column] = map[at]! > scale.from ? 0 : 1;
      }
    }
  }

  at(row: number, column: number): number {
    const below = this.#below;
    const width = this.#width;
    const at = (row + this.#reach) * width + column + this.#reach;
    if (below[at] === 1) return 0;
    for (let by = 1; by <= this.#reach; by++) {
      const isEdge = below[at - by]! | below[at + by]! | below[at - by * width]! | below[at + by * width]!;
      if (isEdge) return CONTOUR_INDEX;
    }
    return colourIndex(this.scale, this.map[row * this.shape.columns + column]!);
  }
}

/**
 * Draws the map over a grey picture, some rows in each step.
 * @param grey uint8 [rows, columns]
 * @param map robust z [rows, columns]; NaN shows plain grey
 * @returns uint8 [rows, columns, 3]
 */
export function* overlaySteps(
  grey: Uint8Array,
  map: Float32Array,
  shape: MapShape,
  scale: ColourScale,
): Generator<void, Uint8Array> {
  const colours = new MapColours(map, shape, scale);
  const rgb = new Uint8Array(grey.length * 3);
  for (let row = 0, at = 0; row < shape.rows; row++) {
    for (let column = 0; column < shape.columns; column++, at++) {
      const value = grey[at]!;
      const colour = colours.at(row, column);
      const opacity = OPACITY[colour]!;
      rgb[3 * at] = value + opacity * (RED[colour]! - value) + 0.5;
      rgb[3 * at + 1] = value + opacity * (GREEN[colour]! - value) + 0.5;
      rgb[3 * at + 2] = value + opacity * (BLUE[colour]! - value) + 0.5;
    }
    if (row % STEP_ROWS === STEP_ROWS - 1) yield;
  }
  return rgb;
}

/** Encodes uint8 [rows, columns, 3] as a PNG file. */
export function rgbPng(rgb: Uint8Array, shape: MapShape): Promise<Uint8Array> {
  return pngOf(rgb, shape, 3);
}

/** Draws only the colours, transparent elsewhere, as a PNG file. */
export function colourLayerPng(map: Float32Array, shape: MapShape, scale: ColourScale): Promise<Uint8Array> {
  const colours = new MapColours(map, shape, scale);
  const rgba = new Uint8Array(map.length * 4);
  for (let row = 0, at = 0; row < shape.rows; row++) {
    for (let column = 0; column < shape.columns; column++, at += 4) {
      const colour = colours.at(row, column);
      rgba[at] = RED[colour]!;
      rgba[at + 1] = GREEN[colour]!;
      rgba[at + 2] = BLUE[colour]!;
      rgba[at + 3] = 255 * OPACITY[colour]! + 0.5;
    }
  }
  return pngOf(rgba, shape, 4);
}

async function pngOf(data: Uint8Array, { rows, columns }: MapShape, channels: 3 | 4): Promise<Uint8Array> {
  const sharp = await loadSharp();
  return sharp(data, { raw: { width: columns, height: rows, channels } })
    .png()
    .toBuffer();
}
