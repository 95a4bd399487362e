/** How far two float32 results of the same image may lie apart. */
import { type Calibration, robustZ } from '../../src/scoring/calibration.js';

/** Of a patch's score, in batches of any two sizes on one engine. */
export const BATCH_ERROR_MAX = 1e-6;

/** The same of an image score, which is a z: as far as the cell whose normals lie closest together stretches it. */
export function imageScoreErrorMax(calibration: Calibration): number {
  const stretched = calibration.patchMedian.map((median, cell) =>
    robustZ(calibration, cell, median + BATCH_ERROR_MAX),
  );
  return Math.max(...stretched);
}
