/** From patch scores to one image score. */

/** The part of a bundle's scoring section that aggregates. */
export interface AggregateForm {
  /** Image score = mean of the top max(1, ceil(topFraction * n)) values. */
  readonly topFraction: number;
  /** Outer rings of the patch grid left out. */
  readonly margin: number;
}

/** Guards ceil against products such as 0.1 * 30 = 3.0000000000000004. */
const ROUNDING = 1e-9;

/** Mean of the largest max(1, ceil(fraction * n)) values; NaN where there is none. */
export function topMean(values: ArrayLike<number>, fraction: number): number {
  const sorted = Float64Array.from(values).sort();
  if (sorted.length === 0) return Number.NaN;
  const count = Math.max(1, Math.ceil(fraction * sorted.length - ROUNDING));
  return sorted.subarray(-count).reduce((sum, value) => sum + value, 0) / count;
}

/** Cells that count for the image and were scored (NaN marks a patch that was not), in grid order. */
export function innerCells(
  patchZ: ArrayLike<number>,
  geometry: { readonly patchGrid: number },
  margin: number,
): number[] {
  const { patchGrid } = geometry;
  const inner: number[] = [];
  for (let row = margin; row < patchGrid - margin; row++) {
    for (let column = margin; column < patchGrid - margin; column++) {
      const cell = row * patchGrid + column;
      if (!Number.isNaN(patchZ[cell])) inner.push(cell);
    }
  }
  return inner;
}

/** Cells that count for the image score, highest robust z first, ties by position. */
export function rankedCells(
  patchZ: ArrayLike<number>,
  geometry: { readonly patchGrid: number },
  aggregate: AggregateForm,
): number[] {
  return innerCells(patchZ, geometry, aggregate.margin).sort((a, b) => patchZ[b]! - patchZ[a]! || a - b);
}

/**
 * @param patchZ robust z per cell [patchGrid squared]; NaN where the patch was not scored.
 * @returns the image score; NaN where no inner patch was scored, which must never be read as normal.
 */
export function imageScore(
  patchZ: ArrayLike<number>,
  geometry: { readonly patchGrid: number },
  aggregate: AggregateForm,
): number {
  const values = innerCells(patchZ, geometry, aggregate.margin).map((cell) => patchZ[cell]!);
  return topMean(values, aggregate.topFraction);
}
