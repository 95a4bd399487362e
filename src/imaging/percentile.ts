/** Percentiles by linear interpolation between order statistics, as numpy.percentile does by default. */

/**
 * @param values reordered in place (a selection, not a full sort: images have up to millions of pixels)
 * @param percentiles in [0, 100]
 * @returns NaN for each where `values` is empty
 */
export function percentilesOf(values: Float32Array, percentiles: readonly number[]): number[] {
  if (values.length === 0) return percentiles.map(() => Number.NaN);
  return percentiles.map((percentile) => {
    const position = (percentile / 100) * (values.length - 1);
    const below = Math.floor(position);
    const low = select(values, below);
    if (position === below) return low;
    // After the selection everything right of `below` is at least `low`: the next order statistic is there.
    let high = Number.POSITIVE_INFINITY;
    for (let i = below + 1; i < values.length; i++) if (values[i]! < high) high = values[i]!;
    return low + (high - low) * (position - below);
  });
}

/** Hoare's selection: moves the k-th smallest value to index k, smaller ones before it. */
function select(values: Float32Array, k: number): number {
  let left = 0;
  let right = values.length - 1;
  while (left < right) {
    const pivot = values[(left + right) >> 1]!;
    let i = left;
    let j = right;
    while (i <= j) {
      while (values[i]! < pivot) i++;
      while (values[j]! > pivot) j--;
      if (i <= j) {
        const swap = values[i]!;
        values[i] = values[j]!;
        values[j] = swap;
        i++;
        j--;
      }
    }
    if (k <= j) right = j;
    else if (k >= i) left = i;
    else break;
  }
  return values[k]!;
}
