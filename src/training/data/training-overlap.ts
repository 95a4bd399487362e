/**
 * Recognises images that a bundle was trained or calibrated on. They score lower than new images, so they are left out of
 * thresholds and figures. A bundle keeps the hashes of their pixels; for older bundles, which do not, the embeddings of an
 * image are compared with the memory bank: those of a training image are in it, up to the rounding of storage.
 */
import type { Bundle } from '../../bundle/bundle.js';
import { squaredDistance } from '../../scoring/knn.js';
import type { ImagePatches } from './image-scorer.js';

/** Squared distance. Rounding to half precision moves a prototype of unit length by less than 5e-4. */
const SAME_PATCH_SQUARED = 1e-6;
/** Fewest prototypes of one source image to decide by: single patches of two images may be equal, such as black ones. */
const PROTOTYPES_MIN = 4;
/** Share of an image's prototypes that must be found; another processor may round a few differently. */
const FOUND_SHARE = 0.9;

/** How training images are recognised; `none`: the bundle does not allow it. */
export type OverlapCheck = 'pixelHashes' | 'memoryBank' | 'none';

export class TrainingOverlap {
  readonly check: OverlapCheck;
  private readonly hashes: ReadonlySet<string>;
  private readonly rowsByCell: readonly (readonly number[])[];
  private readonly rowsPerSource: Int32Array;
  private readonly bundle: Bundle;

  /**
   * @param scope `training`: images of encoder and bank; `all`: also the normals of later calibrations
   * @param isExact whether embeddings have the precision that the bank was made in
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

  /** Whether the image's pixel hash is among the bundle's. */
  hasPixels({ pixelHash }: { readonly pixelHash: string }): boolean {
    return this.hashes.has(pixelHash);
  }

  /** Whether the bank's prototypes of one source image are this image's patches; always false where there are hashes. */
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

  /** An encoder with one patch per image has one prototype per image. */
  private rowsNeeded(): number {
    return Math.min(PROTOTYPES_MIN, this.bundle.geometry.patchGrid ** 2);
  }
}
