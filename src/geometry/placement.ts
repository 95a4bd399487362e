/** Maps the source image to its place in the square working image, and boxes back to source pixels. */

import { SaladError } from '../errors/index.js';
import type { AffineTransform, Point } from './affine.js';
import type { InputSpec } from './specifications.js';

/** The rectangle of the working image that shows the source, in working pixels; the rest is black. */
export interface Placement {
  readonly top: number;
  readonly left: number;
  readonly rows: number;
  readonly columns: number;
}

/** A rectangle in pixels; right and bottom are exclusive. */
export interface Box {
  readonly top: number;
  readonly left: number;
  readonly bottom: number;
  readonly right: number;
}

/**
 * `stretch` fills the square; `pad` scales the longer side to it and centres the shorter.
 * @param aspectRatio height of a source pixel divided by its width
 * @throws SaladError HEADER_INVALID where rows or columns are not whole numbers of at least 1.
 */
export function placementOf(input: InputSpec, rows: number, columns: number, aspectRatio = 1): Placement {
  for (const [name, value] of [
    ['rows', rows],
    ['columns', columns],
  ] as const) {
    if (!Number.isInteger(value) || value < 1) {
      throw SaladError.field('HEADER_INVALID', `header.image.${name}`, `must be at least 1, is ${value}`);
    }
  }
  const size = input.workingSize;
  if (input.fit === 'stretch') return { top: 0, left: 0, rows: size, columns: size };
  const height = rows * aspectRatio;
  const scale = size / Math.max(height, columns);
  const fitRows = Math.max(1, Math.round(height * scale));
  const fitColumns = Math.max(1, Math.round(columns * scale));
  return {
    top: Math.floor((size - fitRows) / 2),
    left: Math.floor((size - fitColumns) / 2),
    rows: fitRows,
    columns: fitColumns,
  };
}

/** Transform from working pixels to source pixels of an image that is not aligned. */
export function placedToSource(placement: Placement, rows: number, columns: number): AffineTransform {
  const xx = columns / placement.columns;
  const yy = rows / placement.rows;
  return { xx, xy: 0, x0: -placement.left * xx, yx: 0, yy, y0: -placement.top * yy };
}

/** Corners in the order top left, top right, bottom right, bottom left. */
export function cornersOf({ top, left, bottom, right }: Box): readonly Point[] {
  return [
    { x: left, y: top },
    { x: right, y: top },
    { x: right, y: bottom },
    { x: left, y: bottom },
  ];
}

/** Smallest box that contains all points, clipped to an image of rows x columns pixels. */
export function boundingBox(points: readonly Point[], rows: number, columns: number): Box {
  const xs = points.map(({ x }) => clip(x, columns));
  const ys = points.map(({ y }) => clip(y, rows));
  return { top: Math.min(...ys), left: Math.min(...xs), bottom: Math.max(...ys), right: Math.max(...xs) };
}

function clip(value: number, size: number): number {
  return Math.min(size, Math.max(0, value));
}
