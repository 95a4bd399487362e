/** The images of an evaluation's report: contact sheets, the table of all images, and the large pictures. */
import { cornersOf } from '../../geometry/placement.js';
import { shownName } from '../../report/page.js';
import { type Outline, type Picture, picturePair, thumbnail } from '../../report/picture.js';
import { type Cell, numberCell, sortableTable, textCell } from '../../report/sortable-table.js';
import type { EvaluationDetail } from './evaluate.js';
import type { EvaluatedImage } from './figures.js';
import type { PicturedImage, SheetName } from './report-pictures.js';

/** An image with maps and its picture on the page. */
export interface ShownImage {
  readonly sheet: SheetName;
  readonly pictured: PicturedImage;
  readonly picture: Picture;
}

const SHEETS: readonly (readonly [SheetName, title: string, none: string])[] = [
  ['hits', 'Abnormal images that were flagged, highest scores', 'No abnormal image was flagged.'],
  ['misses', 'Abnormal images that were not flagged, lowest scores', 'No abnormal image was missed.'],
  ['falseAlarms', 'Normal images that were flagged, highest scores', 'No normal image was flagged.'],
];

function outlinesOf({ countingArea, topPatch, boxes }: PicturedImage): Outline[] {
  return [
    { kind: 'area', points: countingArea, title: 'Only patches inside this line count for the score.' },
    ...boxes.map((box) => ({ kind: 'truth' as const, points: cornersOf(box), title: 'Box of the data set' })),
    { kind: 'top', points: topPatch, title: 'The patch with the highest robust z' },
  ];
}

export function shownImages({ pictures }: EvaluationDetail): readonly ShownImage[] {
  let count = 0;
  return SHEETS.flatMap(([sheet]) =>
    pictures[sheet].map((pictured) => {
      const { layers, source, image } = pictured;
      count += 1;
      const picture = {
        key: `image-${count}`,
        alt: image.id,
        ...source,
        ...layers,
        outlines: outlinesOf(pictured),
      };
      return { sheet, pictured, picture };
    }),
  );
}

function scoreText({ score, pValue }: EvaluatedImage): string {
  return `score ${score.toFixed(2)}, p-value ${pValue.toFixed(4)}`;
}

export function contactSheets(detail: EvaluationDetail, shown: readonly ShownImage[]): string {
  if (shown.length === 0) return '';
  return SHEETS.map(([sheet, title, none]) => {
    const figures = shown
      .filter((each) => each.sheet === sheet)
      .map(
        ({ picture, pictured: { image } }) =>
          `<figure>${thumbnail(picture)}<figcaption>${shownName(image.label)}, ${scoreText(image)}<br>${shownName(image.id)}</figcaption></figure>`,
      );
    const hasAny = detail.pictures[sheet].length > 0;
    return `<h2>${title}</h2>${hasAny ? `<div class="sheet">${figures.join('\n')}</div>` : `<p>${none}</p>`}`;
  }).join('\n');
}

const COLUMNS = ['file', 'class', 'decision', 'image score', 'p-value', 'local part'];
const BOX_COLUMN = 'centre of top patch in box';

/** All images, highest score first; those with maps link to them. */
export function imageTable({ images }: EvaluationDetail, shown: readonly ShownImage[]): string {
  const keyById = new Map(shown.map(({ picture, pictured }) => [pictured.image.id, picture.key]));
  const hasBoxes = images.some(({ boxHit }) => boxHit !== undefined);
  const rows = [...images]
    .sort((a, b) => b.score - a.score)
    .map((image): Cell[] => {
      const key = keyById.get(image.id);
      const name = shownName(image.id);
      const { decision, boxHit } = image;
      return [
        { html: key === undefined ? name : `<a href="#${key}">${name}</a>`, key: image.id },
        textCell(image.label),
        { html: `<span class="${decision}">${decision}</span>`, key: decision },
        numberCell(image.score, 3),
        numberCell(image.pValue, 4),
        numberCell(image.localScore, 3),
        ...(hasBoxes ? [boxCell(boxHit)] : []),
      ];
    });
  return sortableTable([...COLUMNS, ...(hasBoxes ? [BOX_COLUMN] : [])], rows, 3);
}

function boxCell(boxHit: EvaluatedImage['boxHit']): Cell {
  if (boxHit === undefined) return { html: '–', key: '' };
  return textCell(boxHit.pointing ? 'yes' : 'no');
}

export function imageSections(shown: readonly ShownImage[]): string {
  return shown
    .map(({ picture, pictured: { image, stops } }) => {
      const { decision } = image;
      return `<section class="image" id="${picture.key}"><h3>${shownName(image.id)}</h3>
<div>class ${shownName(image.label)} · <span class="${decision}">${decision}</span> · ${scoreText(image)}</div>
${picturePair(picture, stops)}</section>`;
    })
    .join('\n');
}
