/** Aggregates the robust z of an image's patches to one image score. */
import { cellAt } from '../geometry/cells.js';
import type { Geometry } from '../geometry/geometry.js';
import type { ScoringSpec } from '../geometry/specifications.js';

export type AggregateSpec = ScoringSpec['aggregate'];

/** Subtracted before `ceil`, because products such as 0.1 * 30 give 3.0000000000000004. */
const ROUNDING = 1e-9;

/** Mean of the largest max(1, ceil(fraction * n)) values; NaN for no values. */
export function topMean(values: ArrayLike<number>, fraction: number): number {
  const sorted = Float64Array.from(values).sort();
  if (sorted.length === 0) return Number.NaN;
  const count = Math.max(1, Math.ceil(fraction * sorted.length - ROUNDING));
  return sorted.subarray(-count).reduce((sum, value) => sum + value, 0) / count;
}

/** Cells inside the margin whose patch was scored (its value is not NaN), in grid order. */
export function innerCells(
  patchZ: ArrayLike<number>,
  { patchGrid }: Pick<Geometry, 'patchGrid'>,
  margin: number,
): number[] {
  const inner: number[] = [];
  for (let row = margin; row < patchGrid - margin; row++) {
    for (let column = margin; column < patchGrid - margin; column++) {
      const cell = cellAt(row, column, patchGrid);
      if (!Number.isNaN(patchZ[cell])) inner.push(cell);
    }
  }
  return inner;
}

/** The inner cells, highest robust z first, ties by position. */
export function rankedCells(
  patchZ: ArrayLike<number>,
  geometry: Pick<Geometry, 'patchGrid'>,
  aggregate: AggregateSpec,
): number[] {
  return innerCells(patchZ, geometry, aggregate.margin).sort((a, b) => patchZ[b]! - patchZ[a]! || a - b);
}

/**
 * The image score: the mean of the highest robust z of the inner cells
 * (docs/explanation/salad-method.md, section 8).
 * @param patchZ robust z per cell [patchGrid squared]; NaN where the patch was not scored
 * @returns NaN where no inner patch was scored; the caller must not report such an image as normal
 */
export function imageScore(
  patchZ: ArrayLike<number>,
  geometry: Pick<Geometry, 'patchGrid'>,
  aggregate: AggregateSpec,
): number {
  const values = innerCells(patchZ, geometry, aggregate.margin).map((cell) => patchZ[cell]!);
  return topMean(values, aggregate.topFraction);
}
