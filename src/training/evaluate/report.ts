/**
 * Formats an evaluation: table rows for the terminal, and one HTML page with figures, curves, histograms and the
 * highest-scoring images with their maps.
 */
import type { Bundle } from '../../bundle/bundle.js';
import { blendPatches, overlayPng } from '../../imaging/anomaly-map.js';
import { escapeHtml, htmlPage, htmlTable, pngImage } from '../../report/page.js';
import { minFalsePositiveRate } from '../../scoring/calibration.js';
import { NORMAL } from '../data/dataset.js';
import { colourOf, histogramChart, rocChart } from './charts.js';
import type { Evaluation, EvaluationDetail, TopImage } from './evaluate.js';
import { CHECKED_RATES, type ClassFigures, reachableThreshold } from './figures.js';
import { FLOORS } from './floors.js';
import type { Interval } from './metrics.js';

const fixed = (value: number | null | undefined, digits = 3): string => value?.toFixed(digits) ?? '–';
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
    FLOORS.map((floor) => fixed(figures.floors[floor], 2)).join(' / '),
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
            fixed(localisation.touch),
            fixed(localisation.iou10),
            fixed(localisation.iou25),
          ],
        ]
      : [],
  );
}

function thresholdMarks(bundle: Bundle): { at: number; label: string }[] {
  return CHECKED_RATES.flatMap((rate) => {
    const at = reachableThreshold(bundle.manifest.calibration, Number(rate));
    return at === null ? [] : [{ at, label: `threshold for ${rate}` }];
  });
}

function charts(detail: EvaluationDetail, bundle: Bundle): string {
  const scoresOf = (label: string): number[] =>
    detail.images.filter((image) => image.label === label).map((image) => image.score);
  const labels = Object.keys(detail.evaluation.classes);
  const normalGroup = { label: NORMAL, scores: scoresOf(NORMAL), colour: '#888888' };
  const marks = thresholdMarks(bundle);
  if (labels.length === 0) return histogramChart('image scores', [normalGroup], marks);
  return labels
    .map((label, index) => {
      const { auroc } = detail.evaluation.classes[label]!;
      const colour = colourOf(index);
      const group = { label, scores: scoresOf(label), colour };
      return (
        rocChart(`${label}: AUROC ${fixed(auroc)}`, detail.roc[label] ?? [], colour) +
        histogramChart(`${label} against ${NORMAL}`, [normalGroup, group], marks)
      );
    })
    .join('\n');
}

async function contactSheet(top: readonly TopImage[], bundle: Bundle): Promise<string> {
  const figures = await Promise.all(
    top.map(async (image) => {
      const map = blendPatches(bundle.geometry, image.patchZ);
      const png = await overlayPng(image.pixels, map, bundle.geometry.workingSize);
      const caption = `${image.label}, score ${image.score.toFixed(2)}, p ${image.pValue.toFixed(3)}: ${image.id}`;
      return `<figure>${pngImage(png, caption, 200)}<figcaption>${escapeHtml(caption)}</figcaption></figure>`;
    }),
  );
  return figures.join('\n');
}

function calibrationFacts(bundle: Bundle): string {
  const { manifest } = bundle;
  const { training, calibration, scoring } = manifest;
  const count = calibration.imageScores.length;
  const rows = [
    ['bundle', `${manifest.name}@${manifest.version}, manifest SHA-256 ${bundle.sha256}`],
    ['preset, seed', `${training.preset}, ${training.seed}`],
    ['fit / held-out images', `${training.images.fit} / ${training.images.validation}`],
    [
      'image calibration',
      `${count} held-out normals; lowest supported false-positive rate ${fixed(minFalsePositiveRate(calibration))}`,
    ],
    ['memory bank', `${manifest.bank.rows} rows of ${manifest.bank.dimension} numbers`],
    [
      'patch score',
      `${scoring.form} ${scoring.distance} distance to ${scoring.neighbourCount} neighbours, search radius ${scoring.searchRadius ?? 'all'}`,
    ],
    [
      'image score',
      `mean of the top ${100 * scoring.aggregate.topFraction} % robust z, ${scoring.aggregate.margin} outer rings left out`,
    ],
  ];
  return htmlTable(['fact', 'value'], rows);
}

/** Renders the HTML report: a self-contained page without scripts and outside files. */
export async function evaluationReport(detail: EvaluationDetail, bundle: Bundle): Promise<string> {
  const { evaluation } = detail;
  const localisation = localisationRows(evaluation);
  const boxes = boxRows(evaluation);
  const sections = [
    ...(evaluation.warnings.length > 0
      ? [
          '<h2>Warnings</h2>',
          `<ul>${evaluation.warnings.map((warning) => `<li>${escapeHtml(warning)}</li>`).join('')}</ul>`,
        ]
      : []),
    `<p>${evaluation.normal.count} normal images, engine ${evaluation.engine}, ${evaluation.imagesPerSecond.toFixed(1)} images per second.${evaluation.notScored > 0 ? ` ${evaluation.notScored} images had no patch to score and are left out.` : ''}</p>`,
    '<h2>Classes</h2>',
    htmlTable(CLASS_HEADER, classRows(evaluation)),
    '<p class="note">Intervals: bootstrap over patients; with fewer than ten patients, or an AUROC of 0 or 1, Newcombe’s. “Local part” is the AUROC of the score minus the median z of the image’s patches. The last column is the AUROC of single numbers of the source image, each in its better direction: the mean grey value, the mean vertical gradient of the whole image and of its middle, the size of the file. A model near these figures may have learned nothing else.</p>',
    '<h2>Observed false-positive rate</h2>',
    htmlTable(NORMAL_HEADER, normalRows(evaluation)),
    ...(localisation.length > 0
      ? ['<h2>Localisation</h2>', htmlTable(LOCALISATION_HEADER, localisation)]
      : []),
    ...(boxes.length > 0 ? ['<h2>Radiologists’ boxes</h2>', htmlTable(BOX_HEADER, boxes)] : []),
    '<h2>Curves and histograms</h2>',
    charts(detail, bundle),
    '<h2>Highest scores</h2>',
    await contactSheet(detail.top, bundle),
    '<h2>Calibration and model</h2>',
    calibrationFacts(bundle),
  ];
  return htmlPage(`salad-serve: evaluation of ${evaluation.model}`, sections.join('\n'));
}
