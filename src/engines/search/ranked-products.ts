/**
 * Exact search where an engine only multiplies and the best are picked here. Of a bank's products a patch needs those
 * of its window: where tiles have many patches, each row of tiles gets the part of the bank that it needs.
 */
import { SEARCH_LIMITS } from '../../scoring/search-plan.js';
import type { EngineModelSource, TileBatch } from '../engine.js';
import { WindowRows } from './window-rows.js';

/** With fewer patches at a time, parts of the bank would be read more often than they save products. */
const BAND_PATCHES_MIN = 8;
/** Of the bytes that similarities may take: what a core's own cache holds is ranked from there. */
const CACHED_SHARE = 1 / 4;

export type SearchSource = EngineModelSource & Required<Pick<EngineModelSource, 'search'>>;

/** What the patches of a row of tiles are multiplied with. */
export interface Band {
  /** Bank rows, in the order of the products. */
  readonly rows: Int32Array;
  /** First of them in the window's order. */
  readonly first: number;
}

/** Part of a batch: patches [from, to), to be multiplied with one band. */
export interface Piece {
  readonly band: number;
  readonly from: number;
  readonly to: number;
}

export class RankedProducts {
  /** One for every row of tiles; a single one where tiles have few patches, or are whole images. */
  readonly bands: readonly Band[];
  private readonly window: WindowRows;

  constructor(private readonly source: SearchSource) {
    const { geometry, search } = source;
    const { bank, scoring } = search;
    const { patchGrid, patchesPerSide, patchesPerTile } = geometry;
    const radius = scoring.searchRadius ?? patchGrid;
    this.window = new WindowRows(bank, geometry, radius);
    const bands = patchesPerTile < BAND_PATCHES_MIN ? 1 : patchGrid / patchesPerSide;
    const side = patchGrid / bands;
    this.bands = Array.from({ length: bands }, (_, band) => {
      const [first, end] = this.window.spanOfRows(band * side - radius, (band + 1) * side + radius);
      return { rows: this.window.rows.subarray(first, end), first };
    });
  }

  /** Tiles whose products with one band fit the cache; 0 where those of one do not. */
  get tilesPerRun(): number {
    const { geometry, search } = this.source;
    const { similarityBytesMax } = { ...SEARCH_LIMITS, ...search.options };
    const rows = Math.max(...this.bands.map((band) => band.rows.length));
    const bytesPerTile = geometry.patchesPerTile * rows * Float32Array.BYTES_PER_ELEMENT;
    return Math.floor((CACHED_SHARE * similarityBytesMax) / bytesPerTile);
  }

  /** The patches of `count` tiles from `first` on; of one tile where there are several bands. */
  pieceOf(tiles: TileBatch, first: number, count = 1): Piece {
    const { patchesPerTile } = this.source.geometry;
    const band = this.bands.length === 1 ? 0 : tiles.positions[2 * first]!;
    return { band, from: first * patchesPerTile, to: (first + count) * patchesPerTile };
  }

  /**
   * Writes the bank rows of the K nearest of a piece's patches into `found`, nearest first, ties to the lowest row.
   * @param products float32 [patches of the piece, rows of the band] of unit vectors
   * @param cells of the batch's patches in the patch grid
   * @param found [patches of the batch, K]
   */
  rank(products: Float32Array, { band, from, to }: Piece, cells: Int32Array, found: Int32Array): void {
    const { rows, first } = this.bands[band]!;
    const k = this.source.search.scoring.neighbourCount;
    for (let patch = from; patch < to; patch++) {
      const offset = (patch - from) * rows.length - first;
      this.window.nearestOf(products, offset, cells[patch]!, k, found, patch * k);
    }
  }
}
