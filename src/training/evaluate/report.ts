/** The HTML report of an evaluation: figures, curves, histograms, and images beside their maps. */
import type { Bundle } from '../../bundle/bundle.js';
import { escapeHtml, htmlFacts, htmlPage, htmlTable } from '../../report/page.js';
import { mapToolbar } from '../../report/picture.js';
import { HOW_TO_READ } from '../../report/reading.js';
import { minFalsePositiveRate } from '../../scoring/calibration.js';
import { packageVersion } from '../../util/package-root.js';
import { NORMAL } from '../data/dataset.js';
import { colourOf, histogramChart, type OperatingPoint, rocChart } from './charts.js';
import type { EvaluationDetail } from './evaluate.js';
import { CHECKED_RATES, type ClassFigures, reachableThreshold } from './figures.js';
import { contactSheets, imageSections, imageTable, shownImages } from './report-images.js';
import {
  BOX_HEADER,
  boxRows,
  CLASS_HEADER,
  classRows,
  fixed,
  LOCALISATION_HEADER,
  localisationRows,
  NORMAL_HEADER,
  normalRows,
} from './result-tables.js';

const shownRate = (rate: string): string => `${100 * Number(rate)} %`;

function thresholdMarks(bundle: Bundle): { at: number; label: string }[] {
  return CHECKED_RATES.flatMap((rate) => {
    const at = reachableThreshold(bundle.manifest.calibration, Number(rate));
    return at === null ? [] : [{ at, label: shownRate(rate) }];
  });
}

/** What the thresholds of the model do on these images, for each rate that the model can promise. */
function operatingPoints({ evaluation }: EvaluationDetail, figures: ClassFigures): OperatingPoint[] {
  return CHECKED_RATES.flatMap((rate) => {
    const falsePositiveRate = evaluation.normal.falsePositiveRate[rate];
    const truePositiveRate = figures.sensitivity[rate];
    if (falsePositiveRate === null || truePositiveRate === null) return [];
    return [{ falsePositiveRate, truePositiveRate, label: shownRate(rate) }];
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
      const figures = detail.evaluation.classes[label]!;
      const colour = colourOf(index);
      const group = { label, scores: scoresOf(label), colour };
      const title = `${label}: AUROC ${fixed(figures.auroc)}`;
      return (
        rocChart(title, detail.roc[label] ?? [], colour, operatingPoints(detail, figures)) +
        histogramChart(`${label} against ${NORMAL}`, [normalGroup, group], marks)
      );
    })
    .join('\n');
}

function calibrationFacts(bundle: Bundle): string {
  const { manifest } = bundle;
  const { training, calibration, scoring } = manifest;
  const count = calibration.imageScores.length;
  const rows = [
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

/** Origin of the figures, enough to repeat them. */
function originFacts(
  { evaluation }: EvaluationDetail,
  bundle: Bundle,
  { data, date = new Date() }: EvaluationReportOptions,
): string {
  return htmlFacts([
    ['written', `${date.toISOString()} by salad-serve ${escapeHtml(packageVersion())}`],
    ['model', escapeHtml(evaluation.model)],
    ['bundle (SHA-256)', escapeHtml(bundle.sha256)],
    ['engine', `${evaluation.engine} in ${evaluation.precision}`],
    ...(data === undefined ? [] : [['data', escapeHtml(data)] as const]),
  ]);
}

function warningList(warnings: readonly string[]): string {
  if (warnings.length === 0) return '';
  return `<h2>Warnings</h2><ul>${warnings.map((text) => `<li>${escapeHtml(text)}</li>`).join('')}</ul>`;
}

const NOTE_ON_CLASSES =
  '<p class="note">Intervals: bootstrap over patients; with fewer than ten patients, or an AUROC of 0 or 1, Newcombe’s. “Local part” is the AUROC of the score minus the median z of the image’s patches. The last column is the AUROC of single numbers of the source image, each in its better direction: the mean grey value, the mean vertical gradient of the whole image and of its middle, the size of the file. A model near these figures may have learned nothing else.</p>';

function figureSections(detail: EvaluationDetail, bundle: Bundle): string[] {
  const { evaluation } = detail;
  const localisation = localisationRows(evaluation);
  const boxes = boxRows(evaluation);
  return [
    '<h2>Classes</h2>',
    htmlTable(CLASS_HEADER, classRows(evaluation)),
    NOTE_ON_CLASSES,
    '<h2>Observed false-positive rate</h2>',
    htmlTable(NORMAL_HEADER, normalRows(evaluation)),
    ...(localisation.length > 0
      ? ['<h2>Localisation</h2>', htmlTable(LOCALISATION_HEADER, localisation)]
      : []),
    ...(boxes.length > 0 ? ['<h2>Radiologists’ boxes</h2>', htmlTable(BOX_HEADER, boxes)] : []),
    '<h2>Curves and histograms</h2>',
    '<p class="note">Circles: the thresholds of the model, named by the false-positive rate that they are for.</p>',
    `<div class="charts">${charts(detail, bundle)}</div>`,
  ];
}

export interface EvaluationReportOptions {
  /** Folder of the data. */
  readonly data?: string;
  /** @default now */
  readonly date?: Date;
}

/** Renders the HTML report: a self-contained page that loads nothing. */
export function evaluationReport(
  detail: EvaluationDetail,
  bundle: Bundle,
  options: EvaluationReportOptions = {},
): string {
  const { evaluation } = detail;
  const shown = shownImages(detail);
  const notScoredNote =
    evaluation.notScored > 0 ? ` ${evaluation.notScored} images had no patch to score and are left out.` : '';
  const sections = [
    `<p>${detail.images.length} images, ${evaluation.normal.count} of them normal; ${evaluation.imagesPerSecond.toFixed(1)} images per second.${notScoredNote}</p>`,
    originFacts(detail, bundle, options),
    warningList(evaluation.warnings),
    ...figureSections(detail, bundle),
    HOW_TO_READ,
    mapToolbar(shown.map(({ picture }) => picture)),
    contactSheets(detail, shown),
    '<h2>All images</h2>',
    imageTable(detail, shown),
    '<h2>Images with maps</h2>',
    imageSections(shown),
    '<h2>Calibration and model</h2>',
    calibrationFacts(bundle),
  ];
  return htmlPage(`salad-serve: evaluation of ${evaluation.model}`, sections.join('\n'));
}
