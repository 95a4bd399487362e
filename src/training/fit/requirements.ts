/** Checks before the work that there are enough images for a plan. */
import { SaladError } from '../../errors/index.js';
import { columnOf, rowOf } from '../../geometry/cells.js';
import { geometryOf } from '../../geometry/geometry.js';
import type { ScoringSpec } from '../../geometry/specifications.js';
import { candidatesPerCell, type MemoryBank } from '../../scoring/memory-bank.js';
import { largestFoldSize } from '../data/patient-folds.js';
import type { PatientSplit } from '../data/patient-split.js';
import type { TrainingPlan } from '../encoders/preset.js';

/** Training with fewer different normal images is refused, unless forced. */
const TRAINING_IMAGES_MIN = 20;

function invalid(message: string): SaladError {
  return new SaladError('TRAINING_DATA_INVALID', message);
}

/** Number of cells in the smallest search window of the grid, which is that of a corner cell. */
function minWindowCells(searchRadius: number | null, patchGrid: number): number {
  return searchRadius === null ? patchGrid ** 2 : Math.min(patchGrid, searchRadius + 1) ** 2;
}

/** Checks the number of different normal images. @throws SaladError TRAINING_DATA_INVALID for too few, unless forced */
export function checkImageCount(count: number, force: boolean): void {
  if (count >= TRAINING_IMAGES_MIN || force) return;
  throw invalid(
    `${count} different normal ${count === 1 ? 'image is' : 'images are'} too few: at least ${TRAINING_IMAGES_MIN} are ` +
      'needed, and a few hundred for reliable thresholds; --force trains anyway',
  );
}

/**
 * Checks that the memory bank will have enough rows for the search of the plan, before an encoder is trained.
 * @param split of the different images
 * @param options.bankRows most rows of the bank
 * @throws SaladError TRAINING_DATA_INVALID with the number of rows or images needed
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
  const rowsNeeded = Math.ceil(neighbourCount / minWindowCells(searchRadius, patchGrid));
  const cells = patchGrid ** 2;
  // The bank has at least one row per cell, even where that exceeds bankRows.
  if (rowsNeeded > 1 && Math.floor(options.bankRows / cells) < rowsNeeded) {
    throw invalid(
      `a memory bank of ${options.bankRows} rows is too small: the ${neighbourCount} nearest prototypes are searched, ` +
        `and ${rowsNeeded} rows for each of ${cells} cells are needed, ${rowsNeeded * cells} in total`,
    );
  }
  const isCrossFitted = calibrationB.length === 0;
  const available = fit.length - (isCrossFitted ? largestFoldSize(fit, options.seed) : 0);
  if (available >= rowsNeeded) return;
  const patients = new Set(fit.map(({ patient }) => patient)).size;
  throw invalid(
    `${count} different normal images${isCrossFitted ? ` of ${patients} patients` : ''} are too few: ` +
      (isCrossFitted
        ? `each is scored against a bank without its fold (a fifth of the patients), which must hold ${rowsNeeded} ` +
          `images and has ${available}`
        : `${fit.length} of them fit and ${rowsNeeded} are needed, because the ${neighbourCount} nearest prototypes are ` +
          `searched: about ${Math.ceil((rowsNeeded * count) / fit.length)} images in total`),
  );
}

/**
 * Checks that a finished bank has enough rows for the search of every cell.
 * @param scoredCells uint8 [cells]: 1 where patches of the cell will be scored; absent: all cells
 * @throws SaladError TRAINING_DATA_INVALID
 */
export function checkBankSize(
  bank: MemoryBank,
  patchGrid: number,
  { neighbourCount, searchRadius }: ScoringSpec,
  scoredCells?: Uint8Array,
): void {
  const candidates = candidatesPerCell(bank, patchGrid, searchRadius);
  const cell = candidates.findIndex((count, at) => count < neighbourCount && scoredCells?.[at] !== 0);
  if (cell < 0) return;
  throw invalid(
    `too few patches for the memory bank: at row ${rowOf(cell, patchGrid)}, column ${columnOf(cell, patchGrid)} of the patch ` +
      `grid it has ${candidates[cell]} prototypes, and the ${neighbourCount} nearest are searched; give more images or a ` +
      'higher --bank-rows',
  );
}
