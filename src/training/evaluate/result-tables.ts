/** The figures of an evaluation as rows of tables, for the terminal and for the report. */

import { BASELINES } from './baselines.js';
import type { Evaluation } from './evaluate.js';
import { CHECKED_RATES, type ClassFigures } from './figures.js';
import type { Interval } from './metrics.js';

export const fixed = (value: number | null | undefined, digits = 3): string => value?.toFixed(digits) ?? '–';
const interval = (value: Interval | null): string =>
  value ? `${fixed(value[0])} to ${fixed(value[1])}` : '–';

export const CLASS_HEADER = [
  'class',
  'images',
  'AUROC',
  '95 % interval',
  'avg. precision',
  'FPR at 95 % TPR',
  'flagged at 5 %',
  'flagged at 10 %',
  'local part',
  'grey / blur / centre blur / file size alone',
];

/** The classes; where there are several, followed by all abnormal images together. */
function classesWithTotal({
  classes,
  all,
}: Evaluation): readonly (readonly [label: string, figures: ClassFigures])[] {
  const single = Object.entries(classes);
  return all !== null && single.length > 1 ? [...single, ['all abnormal', all]] : single;
}

export function classRows(evaluation: Evaluation): string[][] {
  return classesWithTotal(evaluation).map(([label, figures]) => [
    label,
    String(figures.count),
    fixed(figures.auroc),
    interval(figures.aurocCi95),
    fixed(figures.averagePrecision),
    fixed(figures.fprAt95Tpr),
    fixed(figures.sensitivity['0.05']),
    fixed(figures.sensitivity['0.10']),
    fixed(figures.localAuroc),
    BASELINES.map((baseline) => fixed(figures.floors[baseline], 2)).join(' / '),
  ]);
}

export const NORMAL_HEADER = ['nominal false-positive rate', 'observed on normals', '95 % interval (Wilson)'];

export function normalRows(evaluation: Evaluation): string[][] {
  return CHECKED_RATES.map((rate) => [
    rate,
    fixed(evaluation.normal.falsePositiveRate[rate]),
    interval(evaluation.normal.falsePositiveRateCi95[rate]),
  ]);
}

export const LOCALISATION_HEADER = [
  'class',
  'images with mask',
  'patch AUROC',
  'AUPRO to 0.3',
  'top patch on lesion',
];

export function localisationRows(evaluation: Evaluation): string[][] {
  return Object.entries(evaluation.classes).flatMap(([label, { localisation }]) =>
    localisation?.images !== undefined
      ? [
          [
            label,
            String(localisation.images),
            fixed(localisation.patchAuroc),
            fixed(localisation.aupro),
            fixed(localisation.pointingHit),
          ],
        ]
      : [],
  );
}

export const BOX_HEADER = [
  'class',
  'images with box',
  'centre of top patch in box',
  'a random point',
  'a fixed place',
  'region around it touches box',
  'IoU ≥ 0.1',
  'IoU ≥ 0.25',
];

export function boxRows(evaluation: Evaluation): string[][] {
  return classesWithTotal(evaluation).flatMap(([label, { localisation }]) =>
    localisation?.boxImages !== undefined
      ? [
          [
            label,
            String(localisation.boxImages),
            fixed(localisation.pointing),
            fixed(localisation.pointingByChance),
            fixed(localisation.pointingByFixedPlace),
            fixed(localisation.touch),
            fixed(localisation.iou10),
            fixed(localisation.iou25),
          ],
        ]
      : [],
  );
}
