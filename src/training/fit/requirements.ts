/** Checks, before the work, that there are enough images for a plan. */

import { SaladError } from '../../errors/index.js';
import { geometryOf } from '../../geometry/geometry.js';
import type { ScoringSpec } from '../../geometry/specifications.js';
import { candidatesPerCell, type MemoryBank } from '../../scoring/memory-bank.js';
import { largestFoldSize } from '../data/patient-folds.js';
import type { PatientSplit } from '../data/patient-split.js';
import type { TrainingPlan } from '../encoders/preset.js';

/** Fewer different normal images are refused unless forced. */
export const TRAINING_IMAGES_MIN = 20;

function invalid(message: string): SaladError {
  return new SaladError('TRAINING_DATA_INVALID', message);
}

/** Cells that the search of a corner cell covers: the smallest search window of the grid. */
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
 * Checks that the memory bank will have enough rows for the search of the plan, before an encoder is trained.
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
  const leftOut = isCrossFitted ? largestFoldSize(fit, options.seed) : 0;
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
 * Checks that the search of every cell finds enough rows in a finished bank.
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
