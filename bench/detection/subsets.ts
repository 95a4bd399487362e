/** Parts of a test set that must be told apart, by the manifest that lies beside its folder. */
import { existsSync, readFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import type { Dataset } from '../../src/training/data/dataset.js';

type Row = Readonly<Record<string, string>>;

/** By path as in the manifest, such as `test/normal/a.png`; null where there is no manifest. */
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

/** NIH's older detector, upright and turned. */
const OLDER_MATRIX: ReadonlySet<string> = new Set(['2500x2048', '2048x2500']);

/** PA views of the older detector: in NIH's images the classes differ in both. Null where the manifest tells neither. */
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
