/** Selects a subset of a test set by the columns of the manifest next to its folder. */
import { existsSync, readFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import type { Dataset } from '../../src/training/data/dataset.js';

type Row = Readonly<Record<string, string>>;

/** Reads the rows of the manifest by path, such as `test/normal/a.png`; null if there is no manifest. */
function manifestOf(directory: string): ReadonlyMap<string, Row> | null {
  const file = join(dirname(directory), 'manifest.tsv');
  if (!existsSync(file)) return null;
  const [header = [], ...lines] = readFileSync(file, 'utf8')
    .split(/\r?\n/)
    .filter((line) => line !== '')
    .map((line) => line.split('\t'));
  return new Map(
    lines.map((cells) => [
      cells[header.indexOf('path')]!,
      Object.fromEntries(header.map((name, at) => [name, cells[at] ?? ''])),
    ]),
  );
}

/** Pixel matrix of the older NIH detector, in portrait and landscape format. */
const OLDER_MATRIX: ReadonlySet<string> = new Set(['2500x2048', '2048x2500']);

/**
 * Selects PA views of the older detector. In the NIH data set normal and abnormal images differ in view and detector,
 * which a model could use instead of the findings. Null if no image matches, such as without these columns.
 */
export function sameViewAndDetector(dataset: Dataset): Dataset | null {
  const manifest = manifestOf(dataset.directory);
  const rowOf = (path: string): Row | undefined =>
    manifest?.get(relative(dirname(dataset.directory), path).replaceAll('\\', '/'));
  const images = dataset.images.filter(({ path }) => {
    const row = rowOf(path);
    return row?.['view'] === 'PA' && OLDER_MATRIX.has(row['nih_detector_matrix'] ?? '');
  });
  return images.length === 0 ? null : { ...dataset, images };
}
