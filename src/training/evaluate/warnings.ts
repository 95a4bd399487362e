/**
 * Warnings of an evaluation: false-positive rates above the nominal rate, one-number baselines that separate as well as
 * the model, a fixed place that points better than the top patch, and classes that are too small.
 */

import { BASELINES, type Baseline } from './baselines.js';
import { CHECKED_RATES, type ClassFigures, type NormalFigures } from './figures.js';

/** The figures of a class with fewer patients are not reliable. */
const RELIABLE_PATIENTS_MIN = 10;

const BASELINE_NAMES: Readonly<Record<Baseline, string>> = {
  meanGrey: 'the mean grey value',
  blurWhole: 'the blur of the whole image',
  blurCentre: 'the blur of its centre',
  fileSize: 'the size of the file',
};

const percent = (share: number): string => `${(100 * share).toFixed(1)} %`;

function baselineWarnings(label: string, { auroc, floors }: ClassFigures): readonly string[] {
  return BASELINES.filter((baseline) => floors[baseline] >= auroc).map(
    (baseline) =>
      `${label}: ${BASELINE_NAMES[baseline]} alone reaches an AUROC of ${floors[baseline].toFixed(3)}, the model ${auroc.toFixed(3)}`,
  );
}

function placeWarnings(label: string, { localisation }: ClassFigures): readonly string[] {
  const { pointing, pointingByFixedPlace: fixed } = localisation ?? {};
  if (pointing === undefined || fixed === undefined || fixed <= pointing) return [];
  return [
    `${label}: one place, the same in all images, lies in a box for ${percent(fixed)} of them, the centre of the top patch ` +
      `for ${percent(pointing)}`,
  ];
}

function rateWarnings({ count, falsePositiveRate, falsePositiveRateCi95 }: NormalFigures): readonly string[] {
  return CHECKED_RATES.flatMap((rate) => {
    const observed = falsePositiveRate[rate];
    const interval = falsePositiveRateCi95[rate];
    if (observed === null || interval === null || interval[0] <= Number(rate)) return [];
    return [
      `the false-positive rate is above the nominal ${percent(Number(rate))}: ${percent(observed)} of ${count} normal images ` +
        `are flagged (95 % interval ${percent(interval[0])} to ${percent(interval[1])})`,
    ];
  });
}

/** Collects the warnings. @param all figures of all abnormal images together; null where there is none */
export function evaluationWarnings(
  normal: NormalFigures,
  classes: Readonly<Record<string, ClassFigures>>,
  all: ClassFigures | null,
): readonly string[] {
  const single = Object.entries(classes);
  const groups: [string, ClassFigures][] = single.map(([label, figures]) => [`class ${label}`, figures]);
  if (all !== null && single.length > 1) groups.push(['all abnormal images', all]);
  const sizes: [string, { readonly count: number; readonly patients: number }][] = [
    ['normal', normal],
    ...single,
  ];
  return [
    ...rateWarnings(normal),
    ...groups.flatMap(([label, figures]) => [
      ...baselineWarnings(label, figures),
      ...placeWarnings(label, figures),
    ]),
    ...sizes
      .filter(([, { patients }]) => patients < RELIABLE_PATIENTS_MIN)
      .map(
        ([label, { count, patients }]) =>
          `class ${label}: ${count} ${count === 1 ? 'image' : 'images'} of ${patients} ` +
          `${patients === 1 ? 'patient' : 'patients'}, too few for reliable figures`,
      ),
  ];
}
