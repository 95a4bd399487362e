/** Warnings about a small calibration set, for the commands that train, calibrate and evaluate and for the model card. */
import { type ImageCalibration, minFalsePositiveRate } from './calibration.js';

/** With fewer images, the observed false-positive rate may be far from the nominal one. */
const CALIBRATION_IMAGES_RECOMMENDED = 100;
/** The false-positive rate of a decision where the request names none and the calibration set is large enough for it. */
export const DEFAULT_FALSE_POSITIVE_RATE = 0.05;

const percent = (rate: number): string => `${Number((100 * rate).toPrecision(2))} %`;

/** Calibration images that a rate needs: the smallest n with 1 / (n + 1) <= rate. */
function imagesNeededFor(rate: number): number {
  return Math.ceil(1 / rate - 1e-9) - 1;
}

/**
 * Warnings for a number of calibration images; empty where it is large enough.
 * @param lowestRate the lowest false-positive rate that can be guaranteed
 */
export function imageCountWarnings(count: number, lowestRate = 1 / (count + 1)): readonly string[] {
  const warnings: string[] = [];
  if (count < CALIBRATION_IMAGES_RECOMMENDED) {
    warnings.push(
      `calibrated on ${count} normal images, fewer than ${CALIBRATION_IMAGES_RECOMMENDED}: the false-positive rate of new ` +
        `images may be far from the nominal one, and none below ${percent(lowestRate)} can be guaranteed`,
    );
  }
  if (lowestRate > DEFAULT_FALSE_POSITIVE_RATE) {
    warnings.push(
      `a false-positive rate of ${percent(DEFAULT_FALSE_POSITIVE_RATE)} needs ${imagesNeededFor(DEFAULT_FALSE_POSITIVE_RATE)} ` +
        `calibration normals: a server decides at ${percent(lowestRate)} with this model`,
    );
  }
  return warnings;
}

/** Warnings for finished calibration tables; the smallest stratum bounds the rate. */
export function calibrationWarnings(calibration: ImageCalibration): readonly string[] {
  return imageCountWarnings(calibration.imageScores.length, minFalsePositiveRate(calibration));
}

/** Turns a warning, which starts with a small letter, into a sentence for a model card. */
export function asSentence(warning: string): string {
  return `${warning[0]!.toUpperCase()}${warning.slice(1)}.`;
}
