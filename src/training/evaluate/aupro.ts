/**
 * Area under the per-region-overlap curve up to a false-positive rate of 0.3, over that width (Bergmann, Fauser,
 * Sattlegger, Steger, CVPR 2019): large and small lesions count alike. 1 = every lesion wholly above every lesion-free
 * pixel; a map without information gives 0.15.
 */

/** Up to here false positives are looked at, as the authors do. */
const MAX_FALSE_POSITIVE_RATE = 0.3;
const POINTS = 300;

/** Cells of every 4-connected region of a mask [size, size]. */
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
      const beside = [at - size, at + size, column > 0 ? at - 1 : -1, column < size - 1 ? at + 1 : -1];
      for (const other of beside) {
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
  readonly #clear: number[] = [];
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

  /** Null where there is no lesion or nothing else. */
  area(): number | null {
    if (this.#regions.length === 0 || this.#clear.length === 0) return null;
    const clear = Float64Array.from(this.#clear).sort();
    const overlaps = Array.from({ length: POINTS + 1 }, (_, point) => {
      const allowed = Math.floor((MAX_FALSE_POSITIVE_RATE * point * clear.length) / POINTS);
      // Flagged: what is strictly above the threshold; exactly `allowed` lesion-free pixels at most.
      const threshold = clear[clear.length - 1 - Math.min(allowed, clear.length - 1)]!;
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
