/** `salad score --report`: one page with what failed, a table to sort, and every image beside its map. */
import { writeFile } from 'node:fs/promises';
import type { AcquisitionAggregate } from '../../../clients/typescript/src/index.js';
import type { PictureLayers } from '../../imaging/map-drawing.js';
import { shownShare } from '../../report/colour-bar.js';
import { escapeHtml, htmlFacts, htmlPage, htmlTable, shownName } from '../../report/page.js';
import { mapToolbar, type Outline, type Picture, picturePair } from '../../report/picture.js';
import { HOW_TO_READ } from '../../report/reading.js';
import { numberCell, sortableTable, textCell } from '../../report/sortable-table.js';
import { packageVersion } from '../../util/package-root.js';
import {
  areIdentified,
  decisionName,
  type FailedImage,
  INSTANCE_COLUMNS,
  instanceOf,
  isScored,
  labelOf,
  type ScoredImage,
  summaryOf,
} from './score-results.js';

/** A scored image with the layers of its picture, if the report shows it. */
export type ReportedImage = ScoredImage & { layers?: PictureLayers | undefined };

export interface ScoreReportOptions {
  /** Number of images to score; more than results after an interrupt. @default the number of results */
  readonly total?: number;
  /** @default now */
  readonly date?: Date;
}

/** Writes one HTML page: failures, origin, a sortable table, then each image beside its map, highest score first. */
export async function writeScoreReport(
  path: string,
  results: readonly (FailedImage | ReportedImage)[],
  { total = results.length, date = new Date() }: ScoreReportOptions = {},
): Promise<void> {
  const failed = results.filter((result) => !isScored<ReportedImage>(result)) as FailedImage[];
  const scored = results.filter((result) => isScored<ReportedImage>(result)) as ReportedImage[];
  const ranked = scored.sort((a, b) => rankingScore(b) - rankingScore(a));
  const entries = ranked.map((image, index) => ({ image, picture: pictureOf(image, `image-${index + 1}`) }));
  const parts = [
    `<p>${escapeHtml(summaryOf(results, total))}</p>`,
    failures(failed),
    provenance(scored, date),
    ...(ranked.length === 0
      ? []
      : [
          HOW_TO_READ,
          '<h2>Scores</h2>',
          summary(entries),
          '<h2>Images</h2>',
          mapToolbar(entries.map(({ picture }) => picture)),
          ...entries.map(section),
        ]),
  ];
  await writeFile(path, htmlPage('salad-serve: scores', parts.join('\n')));
}

interface Entry {
  readonly image: ReportedImage;
  readonly picture: Picture;
}

/** Images without a score come last. */
export function rankingScore({ aggregate }: ScoredImage): number {
  return Number.isNaN(aggregate.imageScore) ? Number.NEGATIVE_INFINITY : aggregate.imageScore;
}

/** Comes first on the page, so that a reader does not take an image that was not scored for a normal one. */
function failures(failed: readonly FailedImage[]): string {
  if (failed.length === 0) return '';
  const rows = failed.map(
    (result) =>
      `<tr><td>${shownName(labelOf(result))}</td><td>${escapeHtml(result.failure.message)}${instanceNote(result)}</td></tr>`,
  );
  return `<h2>Not scored</h2><div class="wide"><table><thead><tr><th>file</th><th>reason</th></tr></thead><tbody>${rows.join('')}</tbody></table></div>`;
}

/** Origin of the figures, enough to repeat them. */
function provenance(scored: readonly ScoredImage[], date: Date): string {
  const distinct = (of: (aggregate: AcquisitionAggregate) => string): string =>
    [...new Set(scored.map(({ aggregate }) => of(aggregate)))].map(escapeHtml).join('<br>');
  const facts: [string, string][] = [
    ['written', `${date.toISOString()} by salad-serve ${escapeHtml(packageVersion())}`],
  ];
  if (scored.length > 0) {
    facts.push(
      ['model', distinct(({ model }) => `${model?.name}@${model?.version}`)],
      ['bundle (SHA-256)', distinct(({ model }) => model?.bundleSha256 ?? '')],
      [
        'engine',
        distinct(({ engines, precisions }) =>
          engines.length === 0 ? 'none' : `${engines.join(', ')} in ${precisions.join(', ')}`,
        ),
      ],
      ['threshold', distinct(thresholdText)],
    );
  }
  return htmlFacts(facts);
}

function thresholdText({ threshold, maxFalsePositiveRate }: AcquisitionAggregate): string {
  return `${threshold.toFixed(3)}, which at most ${shownShare(maxFalsePositiveRate)} of normal images exceed`;
}

const COLUMNS = [
  ...['file', 'decision', 'image score', 'p-value', 'highest robust z', 'patches scored'],
  ...['source (columns × rows)', 'ms'],
];

function summary(entries: readonly Entry[]): string {
  const hasInstances = areIdentified(entries.map(({ image }) => image));
  const rows = entries.map(({ image, picture }) => {
    const { aggregate, latencyMs } = image;
    const label = labelOf(image);
    const decision = decisionName(aggregate);
    const { rows: height, columns: width } = picture;
    return [
      { html: `<a href="#${picture.key}">${shownName(label)}</a>`, key: label },
      { html: `<span class="${decision}">${decision}</span>`, key: decision },
      numberCell(aggregate.imageScore, 3),
      numberCell(aggregate.pValue, 4),
      numberCell(aggregate.topPatches[0]?.robustZ, 2),
      numberCell(aggregate.coverage?.scored ?? 0, 0),
      height > 0 ? { html: `${width} × ${height}`, key: width * height } : textCell('–'),
      numberCell(latencyMs, 0),
      ...(hasInstances ? instanceOf(image.source).map((value) => textCell(value ?? '–')) : []),
    ];
  });
  return sortableTable([...COLUMNS, ...(hasInstances ? INSTANCE_COLUMNS : [])], rows, 2);
}

/** The sizes of the source follow from the map. */
function pictureOf(image: ReportedImage, key: string): Picture {
  const { aggregate, layers } = image;
  const { anomalyMap, topPatches } = aggregate;
  const outlines: Outline[] = [];
  if (anomalyMap !== undefined && anomalyMap.countingArea.length > 0) {
    const title = 'Only inside of this line patches count for the score.';
    outlines.push({ kind: 'area', points: anomalyMap.countingArea, title });
  }
  for (const [index, { corners, row, column, robustZ }] of [...topPatches.entries()].reverse()) {
    const title = `patch ${row}, ${column}: robust z ${robustZ.toFixed(2)}`;
    if (corners.length > 0) outlines.push({ kind: index === 0 ? 'top' : 'other', points: corners, title });
  }
  const side = (length: number | undefined, scale: number | undefined): number =>
    Math.round((length ?? 0) * (scale ?? 1));
  return {
    key,
    alt: labelOf(image),
    rows: side(anomalyMap?.rows, anomalyMap?.mapToSource?.yy),
    columns: side(anomalyMap?.columns, anomalyMap?.mapToSource?.xx),
    grey: layers?.grey,
    colours: layers?.colours,
    outlines,
  };
}

function section({ image, picture }: Entry): string {
  const { aggregate, layers } = image;
  const decision = decisionName(aggregate);
  const score = Number.isNaN(aggregate.imageScore)
    ? 'no score'
    : `image score ${aggregate.imageScore.toFixed(3)}, p-value ${aggregate.pValue.toFixed(4)}, threshold ${thresholdText(aggregate)}`;
  const warnings = aggregate.warnings.map(({ message }) => `<p class="warning">${escapeHtml(message)}</p>`);
  return `<section class="image" id="${picture.key}"><h3>${shownName(labelOf(image))}</h3>
<div><span class="${decision}">${decision}</span> · ${escapeHtml(score)}</div>${instanceNote(image)}
${warnings.join('\n')}${layers === undefined ? noPicture(aggregate) : picturePair(picture, aggregate.anomalyMap?.scale ?? [])}
<details><summary>highest patches</summary>${patches(aggregate)}</details></section>`;
}

/** What --identify adds; empty without it. */
function instanceNote({ source }: Pick<ScoredImage, 'source'>): string {
  const facts = instanceOf(source).flatMap((value, index) =>
    value === undefined ? [] : [`${INSTANCE_COLUMNS[index]} ${value}`],
  );
  return facts.length === 0 ? '' : `<div class="note">${escapeHtml(facts.join(' · '))}</div>`;
}

function noPicture({ anomalyMap }: AcquisitionAggregate): string {
  const reason =
    anomalyMap === undefined
      ? 'The server sent no anomaly map.'
      : 'No picture: it could not be drawn, or the page has room for higher scores only.';
  return `<p class="note">${reason}</p>`;
}

function patches({ topPatches }: AcquisitionAggregate): string {
  return htmlTable(
    [
      'patch (row, column)',
      'patch score (distance)',
      'robust z',
      'share of normal patches that reach it',
      'in source pixels (top, left, bottom, right)',
    ],
    topPatches.map(({ row, column, score, robustZ, pValue, box }) => [
      `${row}, ${column}`,
      score.toFixed(4),
      robustZ.toFixed(2),
      shownShare(pValue),
      box ? [box.top, box.left, box.bottom, box.right].map((side) => side.toFixed(0)).join(', ') : '',
    ]),
  );
}
