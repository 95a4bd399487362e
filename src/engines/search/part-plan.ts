/**
 * How an exact search is cut into parts of the memory bank: each is read once for a tile, for the patches that reach it
 * by their search window.
 */

import { type Geometry, patchesOf, patchOfTile } from '../../geometry/geometry.js';
import { type OnnxPart, partGrid } from '../../network/onnx/similarity-parts.js';
import type { EngineModelSource } from '../engine.js';
import { WindowRows } from './window-rows.js';

/** With fewer patches to a tile, parts of the bank would be too many calls for too little. */
const TILE_PATCHES_MIN = 8;
/** Cells of the grid in one part: fewer are multiplied less well, more with patches that do not need them. */
const PART_CELLS_MAX = 8;

export type SearchSource = EngineModelSource & Required<Pick<EngineModelSource, 'search'>>;

/** One graph: all that a tile is searched in. */
export interface PartGraph {
  readonly parts: readonly OnnxPart[];
  /** Whether there is one part, the whole bank, and every patch reaches all of it. */
  readonly isWhole: boolean;
}

/** What one patch reaches of a part: columns [start, end) of row `place`, both of all products of the part. */
export interface Span {
  readonly part: number;
  readonly place: number;
  readonly start: number;
  readonly end: number;
}

/** How a tile at one place of the grid is searched. */
export interface TilePlan {
  /** Which graph. */
  readonly graph: number;
  /** Of every patch, row by row. */
  readonly spans: readonly (readonly Span[])[];
}

export interface PartPlan {
  readonly graphs: readonly PartGraph[];
  /** Of every tile of the image, row by row. */
  readonly tiles: readonly TilePlan[];
}

export function partPlan({ geometry, search }: SearchSource): PartPlan {
  const { bank, scoring } = search;
  const { patchesPerTile } = geometry;
  if (scoring.searchRadius === null) {
    const rows = Int32Array.from({ length: bank.rows }, (_, row) => row);
    const spansOf = () => [[0, bank.rows] as const];
    return wholeBank(geometry, rows, spansOf, true);
  }
  const window = new WindowRows(bank, geometry, scoring.searchRadius);
  if (patchesPerTile < TILE_PATCHES_MIN) {
    return wholeBank(geometry, window.rows, (cell) => [...window.spans(cell)], false);
  }
  const graphs: PartGraph[] = [];
  const tiles = tilesOf(geometry, (cells) => {
    const { parts, spans } = partsOf(window, geometry, cells);
    graphs.push({ parts, isWhole: false });
    return { graph: graphs.length - 1, spans };
  });
  return { graphs, tiles };
}

function tilesOf(geometry: Geometry, planOf: (cells: readonly number[]) => TilePlan): TilePlan[] {
  const plans: TilePlan[] = [];
  for (let row = 0; row < geometry.tileRows; row++) {
    for (let column = 0; column < geometry.tileColumns; column++) {
      const patches = Array.from({ length: geometry.patchesPerTile });
      plans.push(planOf(patches.map((_, within) => patchOfTile(geometry, row, column, within))));
    }
  }
  return plans;
}

/** One graph for all tiles, with one part. */
function wholeBank(
  geometry: Geometry,
  rows: Int32Array,
  spansOf: (cell: number) => readonly (readonly [number, number])[],
  isWhole: boolean,
): PartPlan {
  const [down, across] = patchesOf(geometry);
  const all = { top: 0, bottom: down, left: 0, right: across };
  const tiles = tilesOf(geometry, (cells) => ({
    graph: 0,
    spans: cells.map((cell, place) => spansOf(cell).map(([start, end]) => ({ part: 0, place, start, end }))),
  }));
  return { graphs: [{ parts: [{ ...all, rows }], isWhole }], tiles };
}

/** Cells [left, right) of one row of the grid. */
interface Cells {
  readonly y: number;
  readonly left: number;
  readonly right: number;
}

/** @param cells of the tile's patches */
function partsOf(window: WindowRows, geometry: Geometry, cells: readonly number[]) {
  const { radius } = window;
  const [down, columns] = patchesOf(geometry);
  const [firstY, firstX] = [Math.floor(cells[0]! / geometry.patchGrid), cells[0]! % geometry.patchGrid];
  const [lastY, lastX] = [firstY + down - 1, firstX + columns - 1];
  const parts: OnnxPart[] = [];
  const spans: Span[][] = cells.map(() => []);
  for (const { y, left, right } of partsAround(geometry, [firstY, lastY, firstX, lastX], radius)) {
    const [start, end] = window.entries(y, left, right);
    if (start === end) continue;
    const part = {
      top: Math.max(firstY, y - radius) - firstY,
      bottom: Math.min(lastY, y + radius) - firstY + 1,
      left: Math.max(firstX, left - radius) - firstX,
      right: Math.min(lastX, right - 1 + radius) - firstX + 1,
      rows: window.rows.slice(start, end),
    };
    let place = 0;
    for (let row = part.top; row < part.bottom; row++) {
      for (let column = part.left; column < part.right; column++) {
        const x = firstX + column;
        const own = window.entries(y, Math.max(left, x - radius), Math.min(right, x + radius + 1));
        spans[row * columns + column]!.push({
          part: parts.length,
          place,
          start: own[0] - start,
          end: own[1] - start,
        });
        place += 1;
      }
    }
    parts.push(part);
  }
  return { parts, spans };
}

/** What patches of these cells reach, as even as can be in parts of at most PART_CELLS_MAX cells. */
function* partsAround(
  { patchGrid }: Geometry,
  [top, bottom, left, right]: readonly [number, number, number, number],
  radius: number,
): Generator<Cells> {
  const first = Math.max(0, left - radius);
  const cells = Math.min(patchGrid - 1, right + radius) - first + 1;
  const parts = Math.ceil(cells / PART_CELLS_MAX);
  const edge = (part: number): number => first + Math.floor((part * cells) / parts);
  for (let y = Math.max(0, top - radius); y <= Math.min(patchGrid - 1, bottom + radius); y++) {
    for (let part = 0; part < parts; part++) yield { y, left: edge(part), right: edge(part + 1) };
  }
}

/** Patches of a tile that a part is for. */
export function patchesIn(part: OnnxPart): number {
  const [down, across] = partGrid(part);
  return down * across;
}
