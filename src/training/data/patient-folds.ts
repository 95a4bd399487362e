/** Assigns patients to folds, which are left out in turn where calibration is cross-fitted. */
import { hashFraction } from '../../util/hash-random.js';

export const FOLD_COUNT = 5;

/** Fold of every image in [0, FOLD_COUNT). Patients are dealt to folds in the order of a hash of their id and the seed. */
export function foldsByPatient(images: readonly { readonly patient: string }[], seed: number): number[] {
  const patients = [...new Set(images.map((image) => image.patient))];
  const order = patients
    .map((patient) => ({ patient, key: hashFraction(patient, seed) }))
    .sort((a, b) => a.key - b.key || (a.patient < b.patient ? -1 : 1));
  const foldOf = new Map(order.map(({ patient }, index) => [patient, index % FOLD_COUNT]));
  return images.map((image) => foldOf.get(image.patient)!);
}

/** Number of images of the largest fold. */
export function largestFoldSize(images: readonly { readonly patient: string }[], seed: number): number {
  const counts = new Array<number>(FOLD_COUNT).fill(0);
  for (const fold of foldsByPatient(images, seed)) counts[fold]! += 1;
  return Math.max(...counts);
}
