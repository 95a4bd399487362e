/**
 * Splits an exact search into parts of the memory bank. A part is multiplied once for a tile, with all patches whose
 * search window reaches it.
 */
import { columnOf, rowOf } from '../../geometry/cells.js';
import { type Geometry, patchesOf, patchOfTile } from '../../geometry/geometry.js';
import { type OnnxPart, partGrid } from '../../network/onnx/similarity-parts.js';
import type { EngineModelSource } from '../engine.js';
import { WindowRows } from './window-rows.js';

/** With fewer patches in a tile, the products of a part are too small for the cost of a call. */
const TILE_PATCHES_MIN = 8;
/** Cells of the grid in one part: fewer make slow small products, more include patches that do not reach them. */
const PART_CELLS_MAX = 8;

export type SearchSource = EngineModelSource & Required<Pick<EngineModelSource, 'search'>>;

/** The parts that a tile is searched in, as one graph of an engine. */
export interface PartGraph {
  readonly parts: readonly OnnxPart[];
  /** Whether there is one part, the whole bank, and every patch reaches all of it. */
  readonly isWhole: boolean;
}

/** The rows of one part that one patch reaches. */
export interface PartRange {
  /** Index of the part. */
  readonly part: number;
  /** Index of the patch among the patches of the part, row by row. */
  readonly patch: number;
  /** The rows are [start, end) of the part's rows. */
  readonly start: number;
  readonly end: number;
}

/** How a tile at one position of the grid is searched. */
export interface TilePlan {
  /** Index of the graph. */
  readonly graph: number;
  /** For every patch, row by row. */
  readonly ranges: readonly (readonly PartRange[])[];
}

export interface PartPlan {
  readonly graphs: readonly PartGraph[];
  /** For every tile of the image, row by row. */
  readonly tiles: readonly TilePlan[];
}

export function planParts({ geometry, search }: SearchSource): PartPlan {
  const { bank, scoring } = search;
  const { patchesPerTile } = geometry;
  if (scoring.searchRadius === null) {
    const rows = Int32Array.from({ length: bank.rows }, (_, row) => row);
    return planWholeBank(geometry, rows, () => [[0, bank.rows] as const], true);
  }
  const window = new WindowRows(bank, geometry, scoring.searchRadius);
  if (patchesPerTile < TILE_PATCHES_MIN) {
    return planWholeBank(geometry, window.rows, (cell) => [...window.ranges(cell)], false);
  }
  const graphs: PartGraph[] = [];
  const tiles = planTiles(geometry, (cells) => {
    const { parts, ranges } = partsOf(window, geometry, cells);
    graphs.push({ parts, isWhole: false });
    return { graph: graphs.length - 1, ranges };
  });
  return { graphs, tiles };
}

/** @param planOf plans a tile from the cells of its patches */
function planTiles(geometry: Geometry, planOf: (cells: readonly number[]) => TilePlan): TilePlan[] {
  const plans: TilePlan[] = [];
  for (let row = 0; row < geometry.tileRows; row++) {
    for (let column = 0; column < geometry.tileColumns; column++) {
      const patches = Array.from({ length: geometry.patchesPerTile });
      plans.push(planOf(patches.map((_, within) => patchOfTile(geometry, row, column, within))));
    }
  }
  return plans;
}

/**
 * One graph for all tiles, with the whole bank as its one part.
 * @param rangesOf ranges of `rows` that a cell reaches
 */
function planWholeBank(
  geometry: Geometry,
  rows: Int32Array,
  rangesOf: (cell: number) => readonly (readonly [number, number])[],
  isWhole: boolean,
): PartPlan {
  const [down, across] = patchesOf(geometry);
  const allPatches = { top: 0, bottom: down, left: 0, right: across };
  const tiles = planTiles(geometry, (cells) => ({
    graph: 0,
    ranges: cells.map((cell, patch) =>
      rangesOf(cell).map(([start, end]) => ({ part: 0, patch, start, end })),
    ),
  }));
  return { graphs: [{ parts: [{ ...allPatches, rows }], isWhole }], tiles };
}

/** Cells [left, right) of row `y` of the grid. */
interface CellRange {
  readonly y: number;
  readonly left: number;
  readonly right: number;
}

/** @param cells of the tile's patches */
function partsOf(window: WindowRows, geometry: Geometry, cells: readonly number[]) {
  const { radius } = window;
  const [down, columns] = patchesOf(geometry);
  const [firstY, firstX] = [rowOf(cells[0]!, geometry.patchGrid), columnOf(cells[0]!, geometry.patchGrid)];
  const [lastY, lastX] = [firstY + down - 1, firstX + columns - 1];
  const parts: OnnxPart[] = [];
  const ranges: PartRange[][] = cells.map(() => []);
  for (const { y, left, right } of cellRangesAround(geometry, [firstY, lastY, firstX, lastX], radius)) {
    const [start, end] = window.range(y, left, right);
    if (start === end) continue;
    const part = {
      top: Math.max(firstY, y - radius) - firstY,
      bottom: Math.min(lastY, y + radius) - firstY + 1,
      left: Math.max(firstX, left - radius) - firstX,
      right: Math.min(lastX, right - 1 + radius) - firstX + 1,
      rows: window.rows.slice(start, end),
    };
    let patch = 0;
    for (let row = part.top; row < part.bottom; row++) {
      for (let column = part.left; column < part.right; column++) {
        const x = firstX + column;
        const reached = window.range(y, Math.max(left, x - radius), Math.min(right, x + radius + 1));
        ranges[row * columns + column]!.push({
          part: parts.length,
          patch,
          start: reached[0] - start,
          end: reached[1] - start,
        });
        patch += 1;
      }
    }
    parts.push(part);
  }
  return { parts, ranges };
}

/** The cells within `radius` of a rectangle of cells, in nearly equal ranges of at most PART_CELLS_MAX cells. */
function* cellRangesAround(
  { patchGrid }: Geometry,
  [top, bottom, left, right]: readonly [number, number, number, number],
  radius: number,
): Generator<CellRange> {
  const first = Math.max(0, left - radius);
  const cells = Math.min(patchGrid - 1, right + radius) - first + 1;
  const parts = Math.ceil(cells / PART_CELLS_MAX);
  const edge = (part: number): number => first + Math.floor((part * cells) / parts);
  for (let y = Math.max(0, top - radius); y <= Math.min(patchGrid - 1, bottom + radius); y++) {
    for (let part = 0; part < parts; part++) yield { y, left: edge(part), right: edge(part + 1) };
  }
}

/** Number of patches that are multiplied with a part. */
export function patchesIn(part: OnnxPart): number {
  const [down, across] = partGrid(part);
  return down * across;
}
