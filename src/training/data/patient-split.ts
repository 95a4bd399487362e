/** Which images fit and which calibrate: whole patients, by a hash of their id. */
import { SaladError } from '../../errors/index.js';
import { hashFraction } from '../../util/hash-random.js';
import type { DatasetImage } from './dataset.js';

export interface PatientSplit {
  /** What the encoder, the whitening and the memory bank see. */
  readonly fit: readonly DatasetImage[];
  /** Half A: per-cell median and deviation of patch scores. */
  readonly calibrationA: readonly DatasetImage[];
  /** Half B: image scores, from which p-values and thresholds come. */
  readonly calibrationB: readonly DatasetImage[];
}

/** How many of the groups, in order, have their centre below (or at) a number of images. */
function countUpTo(
  groups: readonly (readonly DatasetImage[])[],
  isInside: (centre: number) => boolean,
): number {
  let placed = 0;
  return groups.filter((group) => {
    const centre = placed + group.length / 2;
    placed += group.length;
    return isInside(centre);
  }).length;
}

function clamp(value: number, low: number, high: number): number {
  return Math.min(high, Math.max(low, value));
}

/**
 * Patients in the order of a hash of their id and the seed; the first `1 - validation` of the images fit, the rest is
 * halved into A and B, an odd image going to B, whose number bounds the rates that can be promised. No patient is on
 * two sides, and every side has one at least.
 * @param validation fraction of the images, in (0, 1).
 * @throws SaladError TRAINING_DATA_INVALID with fewer than three patients.
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
    countUpTo(groups, (centre) => centre <= bound),
    1,
    groups.length - 2,
  );
  const heldOut = groups.slice(fitGroups);
  const middle = heldOut.flat().length / 2;
  const halfA = clamp(
    countUpTo(heldOut, (centre) => centre < middle),
    1,
    heldOut.length - 1,
  );
  const sorted = (part: readonly (readonly DatasetImage[])[]): DatasetImage[] =>
    part.flat().sort((a, b) => (a.id < b.id ? -1 : 1));
  return {
    fit: sorted(groups.slice(0, fitGroups)),
    calibrationA: sorted(heldOut.slice(0, halfA)),
    calibrationB: sorted(heldOut.slice(halfA)),
  };
}
