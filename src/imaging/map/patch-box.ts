/** Computes the position of a patch in the source image. */
import type { Point } from '../../geometry/affine.js';
import { patchStart } from '../../geometry/geometry.js';
import type { Box } from '../../geometry/placement.js';
import type { WorkingImage } from '../working-image/working-image.js';

/** Box of the patch at a row and column of the patch grid, in working pixels. */
function patchBox({ geometry }: WorkingImage, row: number, column: number): Box {
  const top = patchStart(geometry, row);
  const left = patchStart(geometry, column);
  return { top, left, bottom: top + geometry.patchSize, right: left + geometry.patchSize };
}

/** Corners of the patch in source pixels, clockwise from its top left one; not clipped, rotated by an alignment. */
export function patchSourceCorners(image: WorkingImage, row: number, column: number): readonly Point[] {
  return image.sourceCorners(patchBox(image, row, column));
}

/** Smallest upright box around the patch, in source pixels, clipped to the source image. */
export function patchSourceBox(image: WorkingImage, row: number, column: number): Box {
  const { top, left, bottom, right } = patchBox(image, row, column);
  return image.sourceBox(top, left, bottom, right);
}
