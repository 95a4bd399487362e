/**
 * Recognises images that a bundle was trained or calibrated on. They score lower than new images, so they are left out
 * of thresholds and figures. A bundle stores the pixel hashes of its images. For older bundles, which do not, the
 * embeddings of an image are compared with the memory bank: the bank contains those of a training image, up to the
 * rounding of storage.
 */
import type { Bundle } from '../../bundle/bundle.js';
import { cellAt } from '../../geometry/cells.js';
import { squaredDistance } from '../../scoring/knn.js';
import type { ImagePatches } from './image-scorer.js';

/** Largest squared distance of equal patches: half precision moves a prototype of unit length by less than 5e-4. */
const SAME_PATCH_SQUARED = 1e-6;
/** Fewest prototypes of a source image that allow a decision: single patches of two images may be equal (all black). */
const PROTOTYPES_MIN = 4;
/** Share of a source image's prototypes that must match; another processor may round some of them differently. */
const MATCHED_SHARE_MIN = 0.9;

/** How training images are recognised; `none`: the bundle has no data for it. */
export type OverlapCheck = 'pixelHashes' | 'memoryBank' | 'none';

export class TrainingOverlap {
  readonly check: OverlapCheck;
  private readonly hashes: ReadonlySet<string>;
  private readonly rowsByCell: readonly (readonly number[])[];
  private readonly rowsPerSource: Int32Array;
  private readonly bundle: Bundle;

  /**
   * @param scope `training`: images of encoder and bank; `all`: also the images of later calibrations
   * @param isExact whether embeddings have the precision in which the bank was made
   */
  constructor(bundle: Bundle, scope: 'training' | 'all', isExact = true) {
    const { manifest, bank, geometry } = bundle;
    const { pixelHashes, calibrationPixelHashes = [] } = manifest.training;
    this.bundle = bundle;
    this.hashes = new Set([...(pixelHashes ?? []), ...(scope === 'all' ? calibrationPixelHashes : [])]);
    this.rowsPerSource = new Int32Array(manifest.training.sourceImages.length);
    for (const source of bank.sources) this.rowsPerSource[source]! += 1;
    const hasBankCheck = isExact && this.rowsPerSource.some((rows) => rows >= this.minRows());
    this.check = pixelHashes !== undefined ? 'pixelHashes' : hasBankCheck ? 'memoryBank' : 'none';
    const rowsByCell: number[][] = Array.from({ length: geometry.patchGrid ** 2 }, () => []);
    for (let row = 0; row < bank.rows; row += 1) {
      rowsByCell[cellAt(bank.positions[2 * row]!, bank.positions[2 * row + 1]!, geometry.patchGrid)]!.push(
        row,
      );
    }
    this.rowsByCell = rowsByCell;
  }

  /** Whether the bundle stores the image's pixel hash. */
  hasPixels({ pixelHash }: { readonly pixelHash: string }): boolean {
    return this.hashes.has(pixelHash);
  }

  /** Whether the prototypes of one source image are patches of this image; always false where the bundle has hashes. */
  hasPatches({ embeddings, scored }: ImagePatches): boolean {
    if (this.check !== 'memoryBank') return false;
    const { bank } = this.bundle;
    const { dimension } = bank;
    const matchedRows = new Map<number, number>();
    scored.forEach((isScored, cell) => {
      if (isScored === 0) return;
      for (const row of this.rowsByCell[cell]!) {
        const squared = squaredDistance(
          embeddings,
          cell * dimension,
          bank.prototypes,
          row * dimension,
          dimension,
        );
        if (squared > SAME_PATCH_SQUARED) continue;
        const source = bank.sources[row]!;
        matchedRows.set(source, (matchedRows.get(source) ?? 0) + 1);
      }
    });
    return [...matchedRows].some(([source, matched]) => {
      const total = this.rowsPerSource[source]!;
      return total >= this.minRows() && matched >= MATCHED_SHARE_MIN * total;
    });
  }

  /** Fewest prototypes of a source image for a decision. An encoder with one patch per image has one per image. */
  private minRows(): number {
    return Math.min(PROTOTYPES_MIN, this.bundle.geometry.patchGrid ** 2);
  }
}
