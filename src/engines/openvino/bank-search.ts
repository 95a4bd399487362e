/** Exact search: OpenVINO multiplies, and the best are picked outside. Its own TopK is ten times as slow. */
import { buildProductsOnnx } from '../../model/build-onnx-search.js';
import { patchCells } from '../batch.js';
import type { TileBatch } from '../engine.js';
import { RankedProducts, type SearchSource } from '../search/ranked-products.js';
import type { OpenVino } from './library.js';
import { piecesOf, SizedNetwork } from './sized-network.js';

export class BankSearch {
  private readonly ranked: RankedProducts;
  /** One for every band. */
  private readonly networks: readonly SizedNetwork[];
  private products: Float32Array<ArrayBuffer> = new Float32Array(0);

  constructor(
    vino: OpenVino,
    private readonly source: SearchSource,
    threads: number,
  ) {
    const { bank } = source.search;
    this.ranked = new RankedProducts(source);
    const { patchesPerTile } = source.geometry;
    this.networks = this.ranked.bands.map(
      ({ rows }) =>
        new SizedNetwork(
          vino,
          buildProductsOnnx(bank, rows),
          (tiles) => [tiles * patchesPerTile, bank.dimension],
          (tiles) => [tiles * patchesPerTile, rows.length],
          { threads, precision: 'f32' },
        ),
    );
    // Warm-up need not come by the position of every band.
    for (const network of this.networks) network.prepare(1);
  }

  /**
   * Bank rows [patches, K], nearest first, ties to the lowest row.
   * @param embeddings float32 [patches, D]
   */
  nearest(tiles: TileBatch, embeddings: Float32Array): Int32Array {
    const { bank, scoring } = this.source.search;
    const cells = patchCells(this.source, tiles);
    const found = new Int32Array(cells.length * scoring.neighbourCount);
    // Several tiles at a time where one band serves all of them.
    const tilesPerRun = this.ranked.bands.length === 1 ? Math.max(1, this.ranked.tilesPerRun) : 1;
    for (const { first, size } of piecesOf(tiles.count, tilesPerRun)) {
      const piece = this.ranked.pieceOf(tiles, first, size);
      const { band, from, to } = piece;
      const length = (to - from) * this.ranked.bands[band]!.rows.length;
      if (this.products.length < length) this.products = new Float32Array(length);
      const queries = embeddings.subarray(from * bank.dimension, to * bank.dimension);
      this.networks[band]!.run(size, queries, this.products);
      this.ranked.rank(this.products, piece, cells, found);
    }
    return found;
  }

  dispose(): void {
    for (const network of this.networks) network.dispose();
  }
}
