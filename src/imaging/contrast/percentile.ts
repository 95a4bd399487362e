/** Computes percentiles by linear interpolation between order statistics, as numpy.percentile does by default. */

/**
 * @param values reordered in place (a selection, not a full sort: images have up to millions of pixels)
 * @param percentiles in [0, 100]
 * @returns NaN for each where `values` is empty
 */
export function percentilesOf(values: Float32Array, percentiles: readonly number[]): number[] {
  return percentiles.map((percentile) =>
    percentileOfSorted(values.length, percentile, (rank, isNext) => {
      if (!isNext) return select(values, rank);
      // After the selection all values right of the previous rank are at least as high: the next rank is their minimum.
      let high = Number.POSITIVE_INFINITY;
      for (let i = rank; i < values.length; i++) if (values[i]! < high) high = values[i]!;
      return high;
    }),
  );
}

/**
 * Interpolates between the two order statistics next to a percentile.
 * @param at returns the value of a rank, from 0; `isNext`: the previous call was for the previous rank
 * @returns NaN where `count` is 0
 */
export function percentileOfSorted(
  count: number,
  percentile: number,
  at: (rank: number, isNext: boolean) => number,
): number {
  if (count === 0) return Number.NaN;
  const position = (percentile / 100) * (count - 1);
  const below = Math.floor(position);
  const low = at(below, false);
  if (position === below) return low;
  return low + (at(below + 1, true) - low) * (position - below);
}

/** With fewer values sampling does not save time. */
const SAMPLED_FROM = 600;

/**
 * Floyd and Rivest's SELECT (CACM 18(3), 1975, algorithm 489): moves the k-th smallest value to index k, and smaller
 * values before it. The pivot is chosen from a sample around k, so that high and low percentiles cost little more than one
 * pass.
 */
function select(values: Float32Array, k: number, first = 0, last = values.length - 1): number {
  let left = first;
  let right = last;
  while (right > left) {
    if (right - left > SAMPLED_FROM) selectSample(values, k, left, right);
    const pivot = values[k]!;
    let i = left;
    let j = right;
    swap(values, left, k);
    if (values[right]! > pivot) swap(values, left, right);
    while (i < j) {
      swap(values, i++, j--);
      while (values[i]! < pivot) i++;
      while (values[j]! > pivot) j--;
    }
    if (values[left] === pivot) swap(values, left, j);
    else swap(values, ++j, right);
    if (j <= k) left = j + 1;
    if (k <= j) right = j - 1;
  }
  return values[k]!;
}

/** Moves a value close to the k-th smallest to index k, by the same selection in a sample of the values around it. */
function selectSample(values: Float32Array, k: number, left: number, right: number): void {
  const count = right - left + 1;
  const rank = k - left + 1;
  const log = Math.log(count);
  const size = 0.5 * Math.exp((2 * log) / 3);
  const side = rank < count / 2 ? -1 : 1;
  const deviation = 0.5 * side * Math.sqrt((log * size * (count - size)) / count);
  const from = Math.max(left, Math.floor(k - (rank * size) / count + deviation));
  const to = Math.min(right, Math.floor(k + ((count - rank) * size) / count + deviation));
  select(values, k, from, to);
}

function swap(values: Float32Array, i: number, j: number): void {
  const value = values[i]!;
  values[i] = values[j]!;
  values[j] = value;
}
