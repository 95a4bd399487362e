/** What a small calibration cannot promise, in sentences for whoever trains, calibrates, evaluates or scores. */
import { type ImageCalibration, minFalsePositiveRate } from './calibration.js';

/** With fewer the realised false-positive rate may lie far from the promised one. */
export const CALIBRATION_IMAGES_WANTED = 100;
/** Rate that a server decides at unless it is asked for another, where the calibration can promise it. */
export const DEFAULT_FALSE_POSITIVE_RATE = 0.05;

const percent = (rate: number): string => `${Number((100 * rate).toPrecision(2))} %`;

/** Normals that a rate needs: 1 / (n + 1) must not exceed it. */
function imagesFor(rate: number): number {
  return Math.ceil(1 / rate - 1e-9) - 1;
}

/** What must be said of a number of calibration normals; nothing where it is large enough. */
export function calibrationWarnings(count: number, lowestRate = 1 / (count + 1)): readonly string[] {
  const warnings: string[] = [];
  if (count < CALIBRATION_IMAGES_WANTED) {
    warnings.push(
      `calibrated on ${count} normal images, fewer than ${CALIBRATION_IMAGES_WANTED}: the false-positive rate of new ` +
        `images may be far from the promised one, and none below ${percent(lowestRate)} can be promised`,
    );
  }
  if (lowestRate > DEFAULT_FALSE_POSITIVE_RATE) {
    warnings.push(
      `a false-positive rate of ${percent(DEFAULT_FALSE_POSITIVE_RATE)} needs ${imagesFor(DEFAULT_FALSE_POSITIVE_RATE)} ` +
        `calibration normals: a server decides at ${percent(lowestRate)} with this model`,
    );
  }
  return warnings;
}

/** A warning, which begins with a small letter on a terminal, as a sentence of a model card. */
export function asSentence(warning: string): string {
  return `${warning[0]!.toUpperCase()}${warning.slice(1)}.`;
}

/** The same of finished calibration tables, parts of the normals included. */
export function promiseWarnings(calibration: ImageCalibration): readonly string[] {
  return calibrationWarnings(calibration.imageScores.length, minFalsePositiveRate(calibration));
}
