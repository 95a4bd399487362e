/** The mean training image that an aligned bundle warps every image to. */

import type { InputSpec } from '../../geometry/specifications.js';
import { ALIGNMENT_SIZE, Aligner, shrink } from '../../imaging/alignment.js';
import type { FitImage, TrainingPlan } from '../encoders/preset.js';

function meanOf(images: readonly Uint8Array[], size: number): Float64Array {
  const mean = new Float64Array(ALIGNMENT_SIZE ** 2);
  for (const pixels of images) {
    shrink(pixels, size, ALIGNMENT_SIZE).forEach((value, i) => {
      mean[i]! += value / images.length;
    });
  }
  return mean;
}

/**
 * The mean of the images, then the mean of the images aligned to it: sharper, and hardly moved by more rounds.
 * @param images working images [size, size] that have not been aligned; they are left as they are.
 */
export function alignmentReference(
  images: readonly Uint8Array[],
  size: number,
): NonNullable<InputSpec['alignment']> {
  const first = new Aligner(meanOf(images, size));
  const aligned = images.map((pixels) => {
    const copy = Uint8Array.from(pixels);
    first.align(copy, size);
    return copy;
  });
  const reference = Uint8Array.from(meanOf(aligned, size), Math.round);
  return { kind: 'affine', reference: Buffer.from(reference).toString('base64') };
}

/**
 * The plan with the mean of its fit images in it.
 * @param fit working images that have not been aligned.
 */
export function alignedTo(fit: readonly FitImage[], plan: TrainingPlan): TrainingPlan {
  const pixels = fit.map(({ image }) => image.pixels);
  return { ...plan, input: { ...plan.input, alignment: alignmentReference(pixels, plan.input.workingSize) } };
}
