/** Bounds of the difference between two float32 results for the same image. */
import type { CalibrationTables } from '../../../src/geometry/specifications.js';
import { robustZ } from '../../../src/scoring/patch-z.js';

/** Largest difference of a patch score between batches of two sizes, on one engine. */
export const BATCH_ERROR_MAX = 1e-6;

/** Largest difference of a patch score between two engines. */
export const ENGINE_ERROR_MAX = 1e-4;

/**
 * Largest difference of an image score. An image score is a mean of the highest z values, so it differs by at most as
 * much as the z of one patch: the patch error over the scaled MAD of the cell with the smallest MAD.
 * @param patchErrorMax largest difference of a patch score
 */
export function imageScoreErrorMax(calibration: CalibrationTables, patchErrorMax = BATCH_ERROR_MAX): number {
  const zErrors = calibration.patchMedian.map((median, cell) =>
    robustZ(calibration, cell, median + patchErrorMax),
  );
  return Math.max(...zErrors);
}
