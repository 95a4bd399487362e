/** Draws robust z of the patches as a dense map in the geometry of the source image. */
import { type AffineTransform, compose, invert, scaling } from '../geometry/affine.js';
import { cellAt, columnOf, rowOf } from '../geometry/cells.js';
import { type Geometry, patchStart } from '../geometry/geometry.js';
import type { Box } from '../geometry/placement.js';

/** Most pixels of the longer side of a map: 1 MiB of float32, and a higher resolution than that of a patch grid. */
export const MAP_SIDE_MAX = 512;

/** Rows and columns of a map, or of a picture drawn with it. */
export interface MapShape {
  readonly rows: number;
  readonly columns: number;
}

/** Size of the map of a source image: that of the image, or smaller with the same aspect ratio. */
export function mapShapeOf(rows: number, columns: number, sideMax = MAP_SIDE_MAX): MapShape {
  const scale = Math.min(1, sideMax / Math.max(rows, columns));
  const side = (length: number): number => Math.max(1, Math.round(length * scale));
  return { rows: side(rows), columns: side(columns) };
}

/** Transform from map pixels to source pixels: the ratio of the sides. */
export function mapToSource(shape: MapShape, rows: number, columns: number): AffineTransform {
  return scaling(columns / shape.columns, rows / shape.rows);
}

/** Rows drawn in one step. */
const STEP_ROWS = 16;

/**
 * The patch grid as a field over the working image. Every cell is a square of `patchStride` pixels around the centre of
 * its patch. The field is NaN outside of cells that count for the image score and were scored. In the middle half of such
 * a cell it is the robust z of its patch, so that no patch above a threshold is lost between pixels; from there to the
 * next cell it is linear.
 */
export class PatchField {
  readonly #size: number;
  readonly #grid: number;
  readonly #margin: number;
  readonly #z: Float32Array;
  /** Working coordinate of the centre of cell 0, along either axis. */
  readonly #first: number;
  readonly #stride: number;

  /**
   * @param patchZ robust z [patchGrid, patchGrid], NaN where not scored
   * @param margin outer rings of the grid that do not count
   */
  constructor(geometry: Geometry, patchZ: Float32Array, margin: number) {
    const { patchGrid, patchSize, patchStride } = geometry;
    this.#size = geometry.workingSize;
    this.#grid = patchGrid;
    this.#margin = margin;
    this.#z = countingOf(patchZ, patchGrid, margin);
    this.#first = patchStart(geometry, 0) + patchSize / 2;
    this.#stride = patchGrid === 1 ? Math.max(patchSize, patchStride) : patchStride;
  }

  /** The cells that count, scored or not, as a box of the working image. */
  get countingBox(): Box {
    const edge = (cell: number): number =>
      Math.min(this.#size, Math.max(0, this.#first + (cell - 0.5) * this.#stride));
    const [low, high] = [edge(this.#margin), edge(this.#grid - this.#margin)];
    return { top: low, left: low, bottom: high, right: high };
  }

  /** @returns robust z at working coordinates, NaN outside of cells that count and of the working image */
  at(y: number, x: number): number {
    const size = this.#size;
    if (!(y >= 0 && x >= 0 && y < size && x < size)) return Number.NaN;
    const row = (y - this.#first) / this.#stride;
    const column = (x - this.#first) / this.#stride;
    if (Number.isNaN(this.#cell(Math.round(row), Math.round(column)))) return Number.NaN;
    const top = Math.floor(row);
    const left = Math.floor(column);
    const down = nextCellWeight(row - top);
    const right = nextCellWeight(column - left);
    const sum = { weighted: 0, weights: 0 };
    this.#add(sum, top, left, (1 - down) * (1 - right));
    this.#add(sum, top, left + 1, (1 - down) * right);
    this.#add(sum, top + 1, left, down * (1 - right));
    this.#add(sum, top + 1, left + 1, down * right);
    return sum.weighted / sum.weights;
  }

  #cell(row: number, column: number): number {
    const grid = this.#grid;
    if (row < 0 || column < 0 || row >= grid || column >= grid) return Number.NaN;
    return this.#z[cellAt(row, column, grid)]!;
  }

  #add(sum: { weighted: number; weights: number }, row: number, column: number, weight: number): void {
    const z = this.#cell(row, column);
    if (Number.isNaN(z)) return;
    sum.weighted += weight * z;
    sum.weights += weight;
  }
}

/**
 * Weight of the next cell for a position between two centres: 0 up to a quarter of the distance, 1 from three quarters on.
 * @param position in [0, 1) from the centre of a cell to that of the next
 */
function nextCellWeight(position: number): number {
  return Math.min(1, Math.max(0, 2 * position - 0.5));
}

function countingOf(patchZ: Float32Array, grid: number, margin: number): Float32Array {
  return patchZ.map((z, cell) => {
    const [row, column] = [rowOf(cell, grid), columnOf(cell, grid)];
    const distance = Math.min(row, column, grid - 1 - row, grid - 1 - column);
    return distance < margin ? Number.NaN : z;
  });
}

/**
 * Draws a field in the geometry of the source image, some rows in each step.
 * @param workingToSource transform from the working image, after alignment, to the source image
 * @returns float32 [shape.rows, shape.columns] robust z; NaN where nothing that counts was scored
 */
export function* anomalyMapSteps(
  field: PatchField,
  workingToSource: AffineTransform,
  shape: MapShape,
  source: MapShape,
): Generator<void, Float32Array> {
  const map = compose(invert(workingToSource), mapToSource(shape, source.rows, source.columns));
  const values = new Float32Array(shape.rows * shape.columns);
  for (let row = 0, at = 0; row < shape.rows; row++) {
    const y0 = map.yy * (row + 0.5) + map.y0;
    const x0 = map.xy * (row + 0.5) + map.x0;
    for (let column = 0; column < shape.columns; column++, at++) {
      values[at] = field.at(y0 + map.yx * (column + 0.5), x0 + map.xx * (column + 0.5));
    }
    if (row % STEP_ROWS === STEP_ROWS - 1) yield;
  }
  return values;
}

/** As `anomalyMapSteps`, without interruption. */
export function anomalyMap(
  field: PatchField,
  workingToSource: AffineTransform,
  shape: MapShape,
  source: MapShape,
): Float32Array {
  const steps = anomalyMapSteps(field, workingToSource, shape, source);
  for (;;) {
    const step = steps.next();
    if (step.done === true) return step.value;
  }
}
