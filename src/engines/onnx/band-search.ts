/** Exact search for tiles of many patches: a row of tiles is multiplied only with the part of the bank that it needs. */
import type { InferenceSession } from 'onnxruntime-node';
import { buildProductsOnnx } from '../../model/build-onnx-search.js';
import { patchCells } from '../batch.js';
import type { EngineModelSource, TileBatch } from '../engine.js';
import { RankedProducts, type SearchSource } from '../search/ranked-products.js';
import type { OnnxRuntime, OpenSession } from './onnx-engine.js';

export class BandSearch {
  private constructor(
    private readonly library: OnnxRuntime,
    private readonly source: SearchSource,
    private readonly ranked: RankedProducts,
    /** One for every band. */
    private readonly sessions: readonly InferenceSession[],
  ) {}

  /** @returns undefined where the graph's own search is better: few patches a tile, or products beyond the cache. */
  static async open(
    library: OnnxRuntime,
    { search, ...encoder }: EngineModelSource,
    openSession: OpenSession,
  ): Promise<BandSearch | undefined> {
    if (search === undefined || search.scoring.searchRadius === null) return undefined;
    const source = { ...encoder, search };
    const ranked = new RankedProducts(source);
    if (ranked.bands.length === 1 || ranked.tilesPerRun === 0) return undefined;
    const sessions: InferenceSession[] = [];
    for (const { rows } of ranked.bands) {
      sessions.push(await openSession(buildProductsOnnx(search.bank, rows)));
    }
    return new BandSearch(library, source, ranked, sessions);
  }

  /**
   * Bank rows [patches, K], nearest first, ties to the lowest row.
   * @param embeddings float32 [patches, D], not in shared memory
   */
  async nearest(tiles: TileBatch, embeddings: Float32Array): Promise<Int32Array> {
    const { bank, scoring } = this.source.search;
    const cells = patchCells(this.source, tiles);
    const found = new Int32Array(cells.length * scoring.neighbourCount);
    for (let tile = 0; tile < tiles.count; tile++) {
      const piece = this.ranked.pieceOf(tiles, tile);
      const { band, from, to } = piece;
      const queries = embeddings.subarray(from * bank.dimension, to * bank.dimension);
      const results = await this.sessions[band]!.run({
        embeddings: new this.library.Tensor('float32', queries, [to - from, bank.dimension]),
      });
      this.ranked.rank(results['products']!.data as Float32Array, piece, cells, found);
    }
    return found;
  }

  async dispose(): Promise<void> {
    await Promise.all(this.sessions.map((session) => session.release()));
  }
}
