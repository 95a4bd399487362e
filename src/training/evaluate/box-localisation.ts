/**
 * Compares the top patch of an image with the boxes that radiologists drew. The boxes are in `boxes.tsv` in the data
 * folder or the one above it, with the columns path, x, y, w, h in pixels of the image (x to the right, y down, from the
 * top left corner). Where there is a column label, only boxes with the label of a class of the data are used, because
 * boxes of other findings in the same image do not mark the class.
 */
import { existsSync } from 'node:fs';
import { dirname, join, relative, sep } from 'node:path';
import { SaladError } from '../../errors/index.js';
import { columnOf, rowOf } from '../../geometry/cells.js';
import type { Box } from '../../geometry/placement.js';
import type { Dataset, DatasetImage } from '../data/dataset.js';
import { readDataTable } from '../data/table.js';

const COLUMNS = { path: ['path', 'file'], x: ['x'], y: ['y'], w: ['w', 'width'], h: ['h', 'height'] };
const LABELLED = { ...COLUMNS, label: ['label', 'finding'] };
/** Places down and across an image that are compared with its boxes. */
const PLACES = 32;
/** A hand-drawn box may extend beyond its image by this fraction of the image's side. */
const OVERHANG_MAX = 0.02;

export interface BoxFigures {
  /** Number of images with a box. */
  readonly boxImages: number;
  /** Share of these images whose top patch has its centre in a box. */
  readonly pointing: number;
  /** Mean share of the pixels that are in a box: the value of `pointing` for a random point. */
  readonly pointingByChance: number;
  /**
   * Share of the images in which one fixed place lies in a box: for each image the place, relative to its sides, that most
   * other images have in a box. Disease is more frequent in some places, so that a point that ignores the image may beat
   * the top patch.
   */
  readonly pointingByFixedPlace: number;
  /** Share whose region around the top patch (src/scoring/region.ts) overlaps a box. */
  readonly touch: number;
  /** Share whose region has an intersection over union with a box of at least 0.1, and of at least 0.25. */
  readonly iou10: number;
  readonly iou25: number;
}

function invalid(message: string): SaladError {
  return new SaladError('TRAINING_DATA_INVALID', message);
}

function parseBox(row: BoxRow, file: string): Box {
  const [x, y, w, h] = [row.x, row.y, row.w, row.h].map((cell) => (cell === '' ? Number.NaN : Number(cell)));
  if (![x, y, w, h].every((value) => Number.isFinite(value)) || !(w! > 0 && h! > 0)) {
    throw invalid(`${file}: a box of ${row.path} is invalid: x ${row.x}, y ${row.y}, w ${row.w}, h ${row.h}`);
  }
  return { left: x!, top: y!, right: x! + w!, bottom: y! + h! };
}

function checkInside(image: DatasetImage, box: Box, file: string): void {
  const { rows, columns } = image;
  const x = OVERHANG_MAX * columns;
  const y = OVERHANG_MAX * rows;
  if (box.left >= -x && box.right <= columns + x && box.top >= -y && box.bottom <= rows + y) return;
  throw invalid(
    `${file}: a box of ${image.id} extends to (${box.right}, ${box.bottom}), its image has ${columns} x ${rows} pixels: ` +
      'give boxes in pixels of this image file',
  );
}

type BoxRow = Readonly<Record<keyof typeof COLUMNS, string> & { label?: string }>;

/** Reads the rows whose label is a class of the data; all rows where no label is one. */
function readRows(file: string, labels: readonly string[]): readonly BoxRow[] {
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

/** The boxes of a data set, by image. */
export class ImageBoxes {
  readonly file: string | null;
  private readonly byPath: ReadonlyMap<string, readonly Box[]>;

  private constructor(file: string | null, byPath: ReadonlyMap<string, readonly Box[]>) {
    this.file = file;
    this.byPath = byPath;
  }

  /** Reads boxes.tsv, if there is one. @throws SaladError TRAINING_DATA_INVALID where it or a box is invalid */
  static read({ directory, images, labels }: Dataset): ImageBoxes {
    const file = [directory, dirname(directory)].map((folder) => join(folder, 'boxes.tsv')).find(existsSync);
    if (file === undefined) return new ImageBoxes(null, new Map());
    const byRelativePath = new Map<string, Box[]>();
    for (const row of readRows(file, labels)) {
      const path = row.path.replaceAll('\\', '/').replace(/^\.\//, '');
      byRelativePath.set(path, [...(byRelativePath.get(path) ?? []), parseBox(row, file)]);
    }
    const byPath = new Map<string, readonly Box[]>();
    for (const image of images) {
      const boxes = byRelativePath.get(relative(dirname(file), image.path).split(sep).join('/'));
      if (boxes === undefined) continue;
      for (const box of boxes) checkInside(image, box, file);
      byPath.set(image.path, boxes);
    }
    return new ImageBoxes(file, byPath);
  }

  /** Number of images with a box. */
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

function intersectionOverUnion(a: Box, b: Box): number {
  const shared = area(intersection(a, b));
  return shared === 0 ? 0 : shared / (area(a) + area(b) - shared);
}

/** Share of an image's pixels whose centre is in one of the boxes. */
function coveredShare(boxes: readonly Box[], rows: number, columns: number): number {
  let covered = 0;
  for (let row = 0; row < rows; row += 1) {
    const y = row + 0.5;
    const boxesOfRow = boxes.filter(({ top, bottom }) => y >= top && y < bottom);
    if (boxesOfRow.length === 0) continue;
    for (let column = 0; column < columns; column += 1) {
      const x = column + 0.5;
      if (boxesOfRow.some(({ left, right }) => x >= left && x < right)) covered += 1;
    }
  }
  return covered / (rows * columns);
}

/** For each of PLACES x PLACES places, row by row: whether it is in one of the boxes. */
function placesIn(boxes: readonly Box[], rows: number, columns: number): readonly boolean[] {
  return Array.from({ length: PLACES ** 2 }, (_, place) => {
    const y = ((rowOf(place, PLACES) + 0.5) / PLACES) * rows;
    const x = ((columnOf(place, PLACES) + 0.5) / PLACES) * columns;
    return boxes.some(contains(y, x));
  });
}

const contains =
  (y: number, x: number) =>
  ({ top, bottom, left, right }: Box): boolean =>
    y >= top && y < bottom && x >= left && x < right;

/** How the top patch of an image and its boxes overlap. */
export interface BoxHit {
  /** The centre of the patch is in a box. */
  readonly pointing: boolean;
  /** The region overlaps a box. */
  readonly touch: boolean;
  /** The largest intersection over union of the region with a box. */
  readonly iou: number;
  /** Share of the image's pixels that are in a box. */
  readonly covered: number;
  /** For each place of a grid over the image: whether it is in a box. */
  readonly places: readonly boolean[];
}

/**
 * Compares the top patch, and the region around it, with the boxes.
 * @param top the box of the top patch, in pixels of the image
 * @param region the box of the region around it (src/scoring/region.ts), in pixels of the image
 */
export function boxHit(
  top: Box,
  region: Box,
  boxes: readonly Box[],
  { rows, columns }: Pick<DatasetImage, 'rows' | 'columns'>,
): BoxHit {
  const y = (top.top + top.bottom) / 2;
  const x = (top.left + top.right) / 2;
  return {
    pointing: boxes.some(contains(y, x)),
    touch: boxes.some((box) => area(intersection(region, box)) > 0),
    iou: Math.max(...boxes.map((box) => intersectionOverUnion(region, box))),
    covered: coveredShare(boxes, rows, columns),
    places: placesIn(boxes, rows, columns),
  };
}

/** Share of the images for which the most frequent place of the others is in a box. */
function fixedPlaceShare(hits: readonly BoxHit[]): number {
  const counts = hits[0]!.places.map((_, place) => hits.filter(({ places }) => places[place]).length);
  const found = hits.filter(({ places }) => {
    const others = counts.map((count, place) => count - Number(places[place]));
    const most = Math.max(...others);
    return most > 0 && places[others.indexOf(most)];
  });
  return found.length / hits.length;
}

/** Computes shares over all images with a box; undefined for no image. */
export function boxFigures(hits: readonly BoxHit[]): BoxFigures | undefined {
  if (hits.length === 0) return undefined;
  const share = (of: (hit: BoxHit) => boolean): number => hits.filter(of).length / hits.length;
  return {
    boxImages: hits.length,
    pointing: share(({ pointing }) => pointing),
    pointingByChance: hits.reduce((sum, { covered }) => sum + covered, 0) / hits.length,
    pointingByFixedPlace: fixedPlaceShare(hits),
    touch: share(({ touch }) => touch),
    iou10: share(({ iou }) => iou >= 0.1),
    iou25: share(({ iou }) => iou >= 0.25),
  };
}
