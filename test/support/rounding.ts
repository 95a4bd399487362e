/** Largest allowed differences between two float32 results of the same image. */
import type { CalibrationTables } from '../../src/geometry/specifications.js';
import { robustZ } from '../../src/scoring/calibration.js';

/** Between the patch scores of batches of any two sizes on one engine. */
export const BATCH_ERROR_MAX = 1e-6;

/** Between image scores, which are robust z: `BATCH_ERROR_MAX` divided by the smallest spread of a cell. */
export function imageScoreErrorMax(calibration: CalibrationTables): number {
  const errors = calibration.patchMedian.map((median, cell) =>
    robustZ(calibration, cell, median + BATCH_ERROR_MAX),
  );
  return Math.max(...errors);
}
