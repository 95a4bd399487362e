/** Formats the scores of an evaluation as CSV, one line per image, for other programs. */
import { csvLine } from '../../util/csv.js';
import type { EvaluationDetail } from './evaluate.js';

const COLUMNS = 'file,label,patient,imageScore,pValue,decision,top,left,bottom,right';

/** Rounds to hundredths of a pixel. */
const pixels = (value: number): number => Number(value.toFixed(2));

/**
 * Returns CSV with a header. `file` is relative to the data folder; the box is that of the top patch, in pixels of the
 * source image. Images without a scored patch are `indeterminate` and have empty cells.
 */
export function scoreTable({ images, notScored }: Pick<EvaluationDetail, 'images' | 'notScored'>): string {
  const lines = [
    ...images.map(({ id, label, patient, score, pValue, decision, topBox }) => [
      ...[id, label, patient, score, pValue, decision],
      ...[topBox.top, topBox.left, topBox.bottom, topBox.right].map(pixels),
    ]),
    ...notScored.map(({ id, label, patient }) => [
      ...[id, label, patient, '', '', 'indeterminate'],
      ...['', '', '', ''],
    ]),
  ];
  const sorted = lines.sort(([a], [b]) => (String(a) < String(b) ? -1 : 1));
  return `${[COLUMNS, ...sorted.map(csvLine)].join('\n')}\n`;
}
