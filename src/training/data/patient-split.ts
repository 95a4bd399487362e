/** Splits images by patient into those that fit and the two halves that calibrate. */
import { SaladError } from '../../errors/index.js';
import { hashFraction } from '../../util/hash-random.js';
import type { DatasetImage } from './dataset.js';

export interface PatientSplit {
  /** Images that fit the encoder, the whitening and the memory bank. */
  readonly fit: readonly DatasetImage[];
  /** Half A: fits the median and spread of patch scores per cell. */
  readonly calibrationA: readonly DatasetImage[];
  /** Half B: fits the distribution of image scores, for p-values and thresholds. */
  readonly calibrationB: readonly DatasetImage[];
}

/** Counts the groups whose centre, in images from the start of the list, satisfies the condition. */
function countByCentre(
  groups: readonly (readonly DatasetImage[])[],
  isIncluded: (centre: number) => boolean,
): number {
  let imagesBefore = 0;
  return groups.filter((group) => {
    const centre = imagesBefore + group.length / 2;
    imagesBefore += group.length;
    return isIncluded(centre);
  }).length;
}

function clamp(value: number, low: number, high: number): number {
  return Math.min(high, Math.max(low, value));
}

/**
 * Sorts patients by a hash of their id and the seed; the first `1 - validation` of the images fit, the rest is halved
 * into A and B. An odd image belongs to B, because the size of B bounds the rates that can be guaranteed. No patient is
 * on two sides, and every side has at least one.
 * @param validation fraction of the images that calibrate, in (0, 1)
 * @throws SaladError TRAINING_DATA_INVALID with fewer than three patients
 */
export function splitByPatient(
  images: readonly DatasetImage[],
  seed: number,
  validation = 0.2,
): PatientSplit {
  const byPatient = new Map<string, DatasetImage[]>();
  for (const image of images) {
    const group = byPatient.get(image.patient);
    if (group) group.push(image);
    else byPatient.set(image.patient, [image]);
  }
  if (byPatient.size < 3) {
    throw new SaladError(
      'TRAINING_DATA_INVALID',
      `${byPatient.size} patients are too few: fitting and the two calibration halves need one each`,
    );
  }
  const groups = [...byPatient]
    .map(([patient, group]) => ({ patient, group, key: hashFraction(patient, seed) }))
    .sort((a, b) => a.key - b.key || (a.patient < b.patient ? -1 : 1))
    .map(({ group }) => group);
  const bound = (1 - validation) * images.length;
  const fitGroups = clamp(
    countByCentre(groups, (centre) => centre <= bound),
    1,
    groups.length - 2,
  );
  const heldOut = groups.slice(fitGroups);
  const middle = heldOut.flat().length / 2;
  const groupsInA = clamp(
    countByCentre(heldOut, (centre) => centre < middle),
    1,
    heldOut.length - 1,
  );
  const imagesOf = (side: readonly (readonly DatasetImage[])[]): DatasetImage[] =>
    side.flat().sort((a, b) => (a.id < b.id ? -1 : 1));
  return {
    fit: imagesOf(groups.slice(0, fitGroups)),
    calibrationA: imagesOf(heldOut.slice(0, groupsInA)),
    calibrationB: imagesOf(heldOut.slice(groupsInA)),
  };
}
