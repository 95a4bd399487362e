/** How many images a plan needs, and what a small calibration cannot promise: said before the work, and again after. */

import type { ScoringSpec } from '../../bundle/manifest.js';
import { SaladError } from '../../errors/index.js';
import { geometryOf } from '../../geometry/geometry.js';
import { type ImageCalibration, minFalsePositiveRate } from '../../scoring/calibration.js';
import { candidatesPerCell, type MemoryBank } from '../../scoring/memory-bank.js';
import { largestFold } from '../data/patient-folds.js';
import type { PatientSplit } from '../data/patient-split.js';
import type { TrainingPlan } from '../encoders/preset.js';

/** Fewer different normal images are trained on by force only. */
export const TRAINING_IMAGES_MIN = 20;
/** With fewer the realised false-positive rate may lie far from the promised one. */
export const CALIBRATION_IMAGES_WANTED = 100;
/** Rate that a server decides at unless it is asked for another, where the calibration can promise it. */
export const DEFAULT_FALSE_POSITIVE_RATE = 0.05;

const percent = (rate: number): string => `${Number((100 * rate).toPrecision(2))} %`;

function invalid(message: string): SaladError {
  return new SaladError('TRAINING_DATA_INVALID', message);
}

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
export function warningsOf(calibration: ImageCalibration): readonly string[] {
  return calibrationWarnings(calibration.imageScores.length, minFalsePositiveRate(calibration));
}

/** Rows that the search of a corner cell sees at least, by how many each cell has. */
function windowCells(searchRadius: number | null, patchGrid: number): number {
  return searchRadius === null ? patchGrid ** 2 : Math.min(patchGrid, searchRadius + 1) ** 2;
}

/** @throws SaladError TRAINING_DATA_INVALID for fewer different normal images than make a model, unless forced */
export function checkImageCount(count: number, force: boolean): void {
  if (count >= TRAINING_IMAGES_MIN || force) return;
  throw invalid(
    `${count} different normal ${count === 1 ? 'image is' : 'images are'} too few: at least ${TRAINING_IMAGES_MIN} are ` +
      'needed, and a few hundred for thresholds that hold; --force trains all the same',
  );
}

/**
 * Whether the images are enough for what the plan searches: told before an encoder is trained.
 * @param split of different images
 * @param bankRows most rows of the bank
 * @throws SaladError TRAINING_DATA_INVALID with the number needed
 */
export function checkTrainingSize(
  split: PatientSplit,
  plan: TrainingPlan,
  options: { readonly bankRows: number; readonly seed: number },
): void {
  const { fit, calibrationA, calibrationB } = split;
  const count = fit.length + calibrationA.length + calibrationB.length;
  const { neighbourCount, searchRadius } = plan.scoring;
  const { patchGrid } = geometryOf(plan.input, plan.tiling);
  const window = windowCells(searchRadius, patchGrid);
  const perCell = Math.ceil(neighbourCount / window);
  const cells = patchGrid ** 2;
  // Every cell keeps one row at least, however few the bank may hold.
  if (perCell > 1 && Math.floor(options.bankRows / cells) < perCell) {
    throw invalid(
      `a memory bank of ${options.bankRows} rows is too small: the ${neighbourCount} nearest prototypes are searched, ` +
        `and ${perCell} rows for each of ${cells} cells are needed, ${perCell * cells} in all`,
    );
  }
  const isCrossFitted = calibrationB.length === 0;
  const leftOut = isCrossFitted ? largestFold(fit, options.seed) : 0;
  if (fit.length - leftOut < perCell) {
    const patients = new Set(fit.map(({ patient }) => patient)).size;
    throw invalid(
      `${count} different normal images${isCrossFitted ? ` of ${patients} patients` : ''} are too few: ` +
        (isCrossFitted
          ? `they are scored by a bank without their own fifth of the patients, which must hold ${perCell} images and has ` +
            `${fit.length - leftOut}`
          : `${fit.length} of them fit and ${perCell} are needed, as the ${neighbourCount} nearest prototypes are searched: ` +
            `about ${Math.ceil((perCell * count) / fit.length)} images in all`),
    );
  }
}

/**
 * Whether every cell that is searched sees enough rows of a bank.
 * @param needed 1 where a patch of that cell will be scored; absent: everywhere
 * @throws SaladError TRAINING_DATA_INVALID
 */
export function checkBankSize(
  bank: MemoryBank,
  patchGrid: number,
  { neighbourCount, searchRadius }: ScoringSpec,
  needed?: Uint8Array,
): void {
  const candidates = candidatesPerCell(bank, patchGrid, searchRadius);
  const poor = candidates.findIndex((count, cell) => count < neighbourCount && needed?.[cell] !== 0);
  if (poor < 0) return;
  throw invalid(
    `too few patches to remember: at row ${Math.floor(poor / patchGrid)}, column ${poor % patchGrid} of the patch grid the ` +
      `memory bank has ${candidates[poor]} prototypes and the ${neighbourCount} nearest are searched; give more images, or ` +
      'more --bank-rows',
  );
}
