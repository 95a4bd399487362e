/** The table of an evaluation: one line an image, in columns that other programs read. */
import { csvLine } from '../../util/csv.js';
import type { EvaluationDetail } from './evaluate.js';

const COLUMNS = 'file,label,patient,imageScore,pValue,decision,top,left,bottom,right';

/** Hundredths of a pixel. */
const pixels = (value: number): number => Number(value.toFixed(2));

/**
 * CSV with a header. `file` counts from the data folder; the box is the top patch's, in pixels of the source image.
 * Images with nothing to score are `indeterminate` and have empty cells.
 */
export function scoreTable({ images, notScored }: Pick<EvaluationDetail, 'images' | 'notScored'>): string {
  const lines = [
    ...images.map(({ id, label, patient, score, pValue, decision, topBox }) => [
      ...[id, label, patient, score, pValue, decision],
      ...[topBox.top, topBox.left, topBox.bottom, topBox.right].map(pixels),
    ]),
    ...notScored.map(({ id, label, patient }) => [
      id,
      label,
      patient,
      '',
      '',
      'indeterminate',
      '',
      '',
      '',
      '',
    ]),
  ];
  const sorted = lines.sort(([a], [b]) => (String(a) < String(b) ? -1 : 1));
  return `${[COLUMNS, ...sorted.map(csvLine)].join('\n')}\n`;
}
