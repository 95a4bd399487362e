/** Computes the mean training image, to which an aligned bundle warps every image. */
import type { InputSpec } from '../../geometry/specifications.js';
import { Aligner } from '../../imaging/alignment.js';
import { ALIGNMENT_SIZE, shrink } from '../../imaging/alignment-pyramid.js';
import type { FitImage, TrainingPlan } from '../encoders/preset.js';

function meanImage(images: readonly Uint8Array[], size: number): Float64Array {
  const mean = new Float64Array(ALIGNMENT_SIZE ** 2);
  for (const pixels of images) {
    shrink(pixels, size, ALIGNMENT_SIZE).forEach((value, i) => {
      mean[i]! += value / images.length;
    });
  }
  return mean;
}

/**
 * Computes the mean of the images, aligns the images to it and computes their mean again. The second mean is sharper;
 * more iterations change it little.
 * @param images working images [size, size] before alignment; not modified
 */
export function fitAlignmentReference(
  images: readonly Uint8Array[],
  size: number,
): NonNullable<InputSpec['alignment']> {
  const first = new Aligner(meanImage(images, size));
  const aligned = images.map((pixels) => {
    const copy = Uint8Array.from(pixels);
    first.align(copy, size);
    return copy;
  });
  const reference = Uint8Array.from(meanImage(aligned, size), Math.round);
  return { kind: 'affine', reference: Buffer.from(reference).toString('base64') };
}

/**
 * Adds the mean of the fit images to a plan.
 * @param fit working images before alignment
 */
export function withAlignmentReference(fit: readonly FitImage[], plan: TrainingPlan): TrainingPlan {
  const pixels = fit.map(({ image }) => image.pixels);
  return {
    ...plan,
    input: { ...plan.input, alignment: fitAlignmentReference(pixels, plan.input.workingSize) },
  };
}
