/**
 * Area under the per-region-overlap curve (AUPRO) up to a false-positive rate of 0.3, divided by 0.3 (Bergmann, Fauser,
 * Sattlegger, Steger, CVPR 2019). Large and small lesions have the same weight. 1 = every lesion pixel is above every
 * lesion-free pixel; a map without information gives 0.15.
 */

/** Upper end of the curve, as in the paper. */
const FALSE_POSITIVE_RATE_MAX = 0.3;
const POINTS = 300;

/** Finds the pixels of every 4-connected region of a mask [size, size]. */
export function connectedRegions(mask: Uint8Array, size: number): number[][] {
  const seen = new Uint8Array(mask.length);
  const regions: number[][] = [];
  for (let start = 0; start < mask.length; start += 1) {
    if (!mask[start] || seen[start]) continue;
    const region = [start];
    seen[start] = 1;
    for (let next = 0; next < region.length; next += 1) {
      const at = region[next]!;
      const column = at % size;
      const adjacent = [at - size, at + size, column > 0 ? at - 1 : -1, column < size - 1 ? at + 1 : -1];
      for (const other of adjacent) {
        if (other < 0 || other >= mask.length || !mask[other] || seen[other]) continue;
        seen[other] = 1;
        region.push(other);
      }
    }
    regions.push(region);
  }
  return regions;
}

export class PerRegionOverlap {
  /** Scores of all lesion-free pixels. */
  readonly #clear: number[] = [];
  /** Ascending scores of the pixels of every region. */
  readonly #regions: Float64Array[] = [];

  /**
   * @param map scores [size, size]; NaN (not scored) counts as lower than any score.
   * @param mask [size, size], nonzero = lesion.
   */
  add(map: ArrayLike<number>, mask: Uint8Array, size: number): void {
    const valueAt = (at: number): number => (Number.isNaN(map[at]!) ? Number.NEGATIVE_INFINITY : map[at]!);
    for (let at = 0; at < mask.length; at += 1) if (!mask[at]) this.#clear.push(valueAt(at));
    for (const region of connectedRegions(mask, size)) {
      this.#regions.push(Float64Array.from(region, valueAt).sort());
    }
  }

  /** Null where there is no lesion pixel, or no lesion-free pixel. */
  area(): number | null {
    if (this.#regions.length === 0 || this.#clear.length === 0) return null;
    const clear = Float64Array.from(this.#clear).sort();
    const overlaps = Array.from({ length: POINTS + 1 }, (_, point) => {
      const flaggedMax = Math.floor((FALSE_POSITIVE_RATE_MAX * point * clear.length) / POINTS);
      // Pixels strictly above the threshold are flagged: at most `flaggedMax` lesion-free ones.
      const threshold = clear[clear.length - 1 - Math.min(flaggedMax, clear.length - 1)]!;
      return this.#regions.reduce((sum, region) => sum + shareAbove(region, threshold), 0);
    });
    const area = overlaps.slice(1).reduce((sum, value, i) => sum + (value + overlaps[i]!) / 2, 0);
    return area / POINTS / this.#regions.length;
  }
}

/** Share of ascending values strictly above the threshold. */
function shareAbove(sorted: Float64Array, threshold: number): number {
  let low = 0;
  let high = sorted.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (sorted[middle]! <= threshold) low = middle + 1;
    else high = middle;
  }
  return (sorted.length - low) / sorted.length;
}
