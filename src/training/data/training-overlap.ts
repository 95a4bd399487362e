/**
 * Images that a bundle was trained or calibrated on: they look more normal to it than any new image, so that they count
 * in no threshold and no figure. Told by the hashes of their pixels; of bundles that keep none, by their patches, which
 * lie in the memory bank to the rounding of its storage.
 */
import type { Bundle } from '../../bundle/bundle.js';
import { squaredDistance } from '../../scoring/knn.js';
import type { ImagePatches } from './image-scorer.js';

/** Rounding to half precision moves a prototype of unit length by less than 5e-4. */
const SAME_PATCH_SQUARED = 1e-6;
/** Prototypes of one image that must all be found: single patches may be alike where they show nothing. */
const PROTOTYPES_MIN = 4;
/** Share of them; another processor may round a few otherwise. */
const FOUND_SHARE = 0.9;

/** How training images are told: `none` where the bundle gives no means to. */
export type OverlapCheck = 'pixelHashes' | 'memoryBank' | 'none';

export class TrainingOverlap {
  readonly check: OverlapCheck;
  private readonly hashes: ReadonlySet<string>;
  private readonly rowsByCell: readonly (readonly number[])[];
  private readonly rowsPerSource: Int32Array;
  private readonly bundle: Bundle;

  /**
   * @param scope `training`: what the encoder and the bank have seen; `all`: what thresholds were taken from too
   * @param isExact whether embeddings are of the precision that the bank was made in
   */
  constructor(bundle: Bundle, scope: 'training' | 'all', isExact = true) {
    const { manifest, bank, geometry } = bundle;
    const { pixelHashes, calibrationPixelHashes = [] } = manifest.training;
    this.bundle = bundle;
    this.hashes = new Set([...(pixelHashes ?? []), ...(scope === 'all' ? calibrationPixelHashes : [])]);
    this.rowsPerSource = new Int32Array(manifest.training.sourceImages.length);
    for (const source of bank.sources) this.rowsPerSource[source]! += 1;
    const hasBankCheck = isExact && this.rowsPerSource.some((rows) => rows >= this.rowsNeeded());
    this.check = pixelHashes !== undefined ? 'pixelHashes' : hasBankCheck ? 'memoryBank' : 'none';
    const rowsByCell: number[][] = Array.from({ length: geometry.patchGrid ** 2 }, () => []);
    for (let row = 0; row < bank.rows; row += 1) {
      rowsByCell[bank.positions[2 * row]! * geometry.patchGrid + bank.positions[2 * row + 1]!]!.push(row);
    }
    this.rowsByCell = rowsByCell;
  }

  /** An image that is known without being scored. */
  hasPixels({ pixelHash }: { readonly pixelHash: string }): boolean {
    return this.hashes.has(pixelHash);
  }

  /** Whether all that the bank kept of one of its images is in this one; false where hashes have told already. */
  hasPatches({ embeddings, scored }: ImagePatches): boolean {
    if (this.check !== 'memoryBank') return false;
    const { bank } = this.bundle;
    const found = new Map<number, number>();
    scored.forEach((isScored, cell) => {
      if (isScored === 0) return;
      for (const row of this.rowsByCell[cell]!) {
        const from = row * bank.dimension;
        const apart = squaredDistance(
          embeddings,
          cell * bank.dimension,
          bank.prototypes,
          from,
          bank.dimension,
        );
        if (apart > SAME_PATCH_SQUARED) continue;
        const source = bank.sources[row]!;
        found.set(source, (found.get(source) ?? 0) + 1);
      }
    });
    return [...found].some(([source, rows]) => {
      const kept = this.rowsPerSource[source]!;
      return kept >= this.rowsNeeded() && rows >= FOUND_SHARE * kept;
    });
  }

  /** Of an encoder with one patch an image one prototype is the whole image. */
  private rowsNeeded(): number {
    return Math.min(PROTOTYPES_MIN, this.bundle.geometry.patchGrid ** 2);
  }
}
