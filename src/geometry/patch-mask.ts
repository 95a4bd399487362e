/** The patches of one image that are scored: all except those of background cores. */
import { type Geometry, patchOfTile } from './geometry.js';

export class PatchMask {
  readonly #geometry: Geometry;
  /** uint8 [patchGrid squared]: 1 where the patch is background. */
  readonly #background: Uint8Array;

  constructor(geometry: Geometry) {
    this.#geometry = geometry;
    this.#background = new Uint8Array(geometry.patchGrid ** 2);
  }

  /** @param patches places in the patch grid (row * patchGrid + column) */
  markBackground(patches: readonly number[]): void {
    for (const patch of patches) this.#background[patch] = 1;
  }

  /**
   * Calls `visit` for every patch of a tile that is not background.
   * @param visit receives the place in the patch grid and the number of the patch within the tile, as engines order them
   */
  forEachScored(tileRow: number, tileColumn: number, visit: (patch: number, within: number) => void): void {
    const { patchesPerTile } = this.#geometry;
    for (let within = 0; within < patchesPerTile; within++) {
      const patch = patchOfTile(this.#geometry, tileRow, tileColumn, within);
      if (this.#background[patch] === 0) visit(patch, within);
    }
  }
}
