/** The place of a patch in the source image. */
import { patchStart } from '../geometry/geometry.js';
import type { Box } from '../geometry/placement.js';
import type { WorkingImage } from './working-image.js';

/** Box of the patch at a row and column of the patch grid, in source pixels, clipped to the source image. */
export function patchSourceBox(image: WorkingImage, row: number, column: number): Box {
  const { geometry } = image;
  const top = patchStart(geometry, row);
  const left = patchStart(geometry, column);
  return image.sourceBox(top, left, top + geometry.patchSize, left + geometry.patchSize);
}
