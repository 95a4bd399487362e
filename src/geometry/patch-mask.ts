/** The patches of one image that are scored: all except those of background cores. */
import { type Geometry, patchOfTile } from './geometry.js';
import { type TileIndex, tileColumnOf, tileRowOf } from './tile-index.js';

export class PatchMask {
  readonly #geometry: Geometry;
  /** uint8 [patchGrid squared]: 1 where the patch is background. */
  readonly #background: Uint8Array;

  constructor(geometry: Geometry) {
    this.#geometry = geometry;
    this.#background = new Uint8Array(geometry.patchGrid ** 2);
  }

  /** @param patches indices in the patch grid */
  markBackground(patches: readonly number[]): void {
    for (const patch of patches) this.#background[patch] = 1;
  }

  /**
   * Calls `visit` for every patch of a tile that is not background.
   * @param visit receives the index in the patch grid, and the index of the patch within the tile, as engines order them
   */
  forEachScored(tile: TileIndex, visit: (patch: number, within: number) => void): void {
    const { patchesPerTile } = this.#geometry;
    const tileRow = tileRowOf(this.#geometry, tile);
    const tileColumn = tileColumnOf(this.#geometry, tile);
    for (let within = 0; within < patchesPerTile; within++) {
      const patch = patchOfTile(this.#geometry, tileRow, tileColumn, within);
      if (this.#background[patch] === 0) visit(patch, within);
    }
  }
}
