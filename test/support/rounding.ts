/** How far two float32 results of the same image may lie apart. */
import type { Calibration } from '../../src/scoring/calibration.js';

/** Of a patch's score, in batches of any two sizes on one engine. */
export const BATCH_ERROR_MAX = 1e-6;

/** MAD to standard deviation, as a robust z has it. */
const SIGMA_PER_MAD = 1.4826;

/** The same of an image score, which is a z: as far as the cell whose normals lie closest together stretches it. */
export function imageScoreErrorMax({ patchMad }: Pick<Calibration, 'patchMad'>): number {
  return BATCH_ERROR_MAX / (SIGMA_PER_MAD * Math.min(...patchMad));
}
