/**
 * Whether the top patch of an image lies where a radiologist drew a box: `boxes.tsv` in the data folder or the one above
 * it, columns path, x, y, w, h in pixels of the image (x to the right, y down from the top left corner). Where there is a
 * column label, boxes count whose label is a class of the data: other readings of the same image are not the finding.
 */
import { existsSync } from 'node:fs';
import { dirname, join, relative, sep } from 'node:path';
import { SaladError } from '../../errors/index.js';
import type { Box } from '../../geometry/placement.js';
import type { Dataset, DatasetImage } from '../data/dataset.js';
import { readDataTable } from '../data/table.js';

const COLUMNS = { path: ['path', 'file'], x: ['x'], y: ['y'], w: ['w', 'width'], h: ['h', 'height'] };
const LABELLED = { ...COLUMNS, label: ['label', 'finding'] };
/** How far a box may reach over its image, as a share of the image's side: hand-drawn boxes do, a little. */
const OVERHANG = 0.02;

export interface BoxFigures {
  /** Images with a box. */
  readonly boxImages: number;
  /** Share of them whose top patch has its centre in a box. */
  readonly pointing: number;
  /** Share of the pixels in a box, on average: what a random point would reach. */
  readonly pointingByChance: number;
  /** Share whose top patch overlaps a box at all. */
  readonly touch: number;
  /** Share whose top patch and a box have an intersection over union of 0.1, and of 0.25. */
  readonly iou10: number;
  readonly iou25: number;
}

function invalid(message: string): SaladError {
  return new SaladError('TRAINING_DATA_INVALID', message);
}

function boxOf(row: BoxRow, file: string): Box {
  const [x, y, w, h] = [row.x, row.y, row.w, row.h].map((cell) => (cell === '' ? Number.NaN : Number(cell)));
  if (![x, y, w, h].every((value) => Number.isFinite(value)) || !(w! > 0 && h! > 0)) {
    throw invalid(
      `${file}: the box of ${row.path} is no box: x ${row.x}, y ${row.y}, w ${row.w}, h ${row.h}`,
    );
  }
  return { left: x!, top: y!, right: x! + w!, bottom: y! + h! };
}

function checkInside(image: DatasetImage, box: Box, file: string): void {
  const { rows, columns } = image;
  const x = OVERHANG * columns;
  const y = OVERHANG * rows;
  if (box.left >= -x && box.right <= columns + x && box.top >= -y && box.bottom <= rows + y) return;
  throw invalid(
    `${file}: a box of ${image.id} reaches to (${box.right}, ${box.bottom}), its image has ${columns} x ${rows} pixels: ` +
      'boxes count in pixels of the image that lies there',
  );
}

type BoxRow = Readonly<Record<keyof typeof COLUMNS, string> & { label?: string }>;

/** All rows, or those of findings that are classes where any is. */
function rowsOf(file: string, labels: readonly string[]): readonly BoxRow[] {
  const labelled = readDataTable(file, LABELLED);
  if ('table' in labelled) {
    const classes = new Set(labels.map((label) => label.toLowerCase()));
    const { rows } = labelled.table;
    const ofClasses = rows.filter(({ label }) => classes.has(label.toLowerCase()));
    return ofClasses.length > 0 ? ofClasses : rows;
  }
  const found = readDataTable(file, COLUMNS);
  if ('table' in found) return found.table.rows;
  throw invalid(`${file}: the first line must name the columns path, x, y, w and h; it is "${found.header}"`);
}

/** The boxes of the images of a data set. */
export class ImageBoxes {
  readonly file: string | null;
  private readonly byPath: ReadonlyMap<string, readonly Box[]>;

  private constructor(file: string | null, byPath: ReadonlyMap<string, readonly Box[]>) {
    this.file = file;
    this.byPath = byPath;
  }

  /** @throws SaladError TRAINING_DATA_INVALID where the table cannot be read or a box does not fit its image */
  static of({ directory, images, labels }: Dataset): ImageBoxes {
    const file = [directory, dirname(directory)].map((folder) => join(folder, 'boxes.tsv')).find(existsSync);
    if (file === undefined) return new ImageBoxes(null, new Map());
    const byRow = new Map<string, Box[]>();
    for (const row of rowsOf(file, labels)) {
      const path = row.path.replaceAll('\\', '/').replace(/^\.\//, '');
      byRow.set(path, [...(byRow.get(path) ?? []), boxOf(row, file)]);
    }
    const byPath = new Map<string, readonly Box[]>();
    for (const image of images) {
      const boxes = byRow.get(relative(dirname(file), image.path).split(sep).join('/'));
      if (boxes === undefined) continue;
      for (const box of boxes) checkInside(image, box, file);
      byPath.set(image.path, boxes);
    }
    return new ImageBoxes(file, byPath);
  }

  /** Images with a box. */
  get size(): number {
    return this.byPath.size;
  }

  find({ path }: Pick<DatasetImage, 'path'>): readonly Box[] | undefined {
    return this.byPath.get(path);
  }
}

function area({ top, left, bottom, right }: Box): number {
  return Math.max(0, bottom - top) * Math.max(0, right - left);
}

function intersection(a: Box, b: Box): Box {
  return {
    top: Math.max(a.top, b.top),
    left: Math.max(a.left, b.left),
    bottom: Math.min(a.bottom, b.bottom),
    right: Math.min(a.right, b.right),
  };
}

function overlap(a: Box, b: Box): number {
  const shared = area(intersection(a, b));
  return shared === 0 ? 0 : shared / (area(a) + area(b) - shared);
}

/** Share of an image's pixels whose centre lies in one of the boxes. */
function coveredShare(boxes: readonly Box[], rows: number, columns: number): number {
  let covered = 0;
  for (let row = 0; row < rows; row += 1) {
    const y = row + 0.5;
    const here = boxes.filter(({ top, bottom }) => y >= top && y < bottom);
    if (here.length === 0) continue;
    for (let column = 0; column < columns; column += 1) {
      const x = column + 0.5;
      if (here.some(({ left, right }) => x >= left && x < right)) covered += 1;
    }
  }
  return covered / (rows * columns);
}

/** An image's top patch against its boxes. */
export interface BoxHit {
  readonly pointing: boolean;
  readonly touch: boolean;
  /** Of the box that overlaps most. */
  readonly iou: number;
  readonly covered: number;
}

/** @param top the box of the top patch, in pixels of the image */
export function boxHit(
  top: Box,
  boxes: readonly Box[],
  { rows, columns }: Pick<DatasetImage, 'rows' | 'columns'>,
): BoxHit {
  const y = (top.top + top.bottom) / 2;
  const x = (top.left + top.right) / 2;
  return {
    pointing: boxes.some((box) => y >= box.top && y < box.bottom && x >= box.left && x < box.right),
    touch: boxes.some((box) => area(intersection(top, box)) > 0),
    iou: Math.max(...boxes.map((box) => overlap(top, box))),
    covered: coveredShare(boxes, rows, columns),
  };
}

/** Shares over images; undefined where there is none. */
export function boxFigures(hits: readonly BoxHit[]): BoxFigures | undefined {
  if (hits.length === 0) return undefined;
  const share = (of: (hit: BoxHit) => boolean): number => hits.filter(of).length / hits.length;
  return {
    boxImages: hits.length,
    pointing: share(({ pointing }) => pointing),
    pointingByChance: hits.reduce((sum, { covered }) => sum + covered, 0) / hits.length,
    touch: share(({ touch }) => touch),
    iou10: share(({ iou }) => iou >= 0.1),
    iou25: share(({ iou }) => iou >= 0.25),
  };
}
