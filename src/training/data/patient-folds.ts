/** Parts of the patients that are left out in turn where calibration is cross-fitted. */
import { hashFraction } from '../../util/hash-random.js';

export const FOLDS = 5;

/** Fold of every image in [0, FOLDS): whole patients, in the order of a hash of their id and the seed. */
export function foldsByPatient(images: readonly { readonly patient: string }[], seed: number): number[] {
  const patients = [...new Set(images.map((image) => image.patient))];
  const order = patients
    .map((patient) => ({ patient, key: hashFraction(patient, seed) }))
    .sort((a, b) => a.key - b.key || (a.patient < b.patient ? -1 : 1));
  const foldOf = new Map(order.map(({ patient }, index) => [patient, index % FOLDS]));
  return images.map((image) => foldOf.get(image.patient)!);
}

/** Images of the fold that has most. */
export function largestFold(images: readonly { readonly patient: string }[], seed: number): number {
  const counts = new Array<number>(FOLDS).fill(0);
  for (const fold of foldsByPatient(images, seed)) counts[fold]! += 1;
  return Math.max(...counts);
}
