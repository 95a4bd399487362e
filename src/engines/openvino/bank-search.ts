/** Exact search: OpenVINO multiplies, and the best are picked here. Its own TopK is ten times as slow. */
import { buildSimilarityOnnx } from '../../model/build-onnx-search.js';
import { patchCells } from '../batch.js';
import type { EngineModelSource, TileBatch } from '../engine.js';
import { WindowRows } from '../search/window-rows.js';
import type { OpenVino } from './library.js';
import { piecesOf, SizedNetwork } from './sized-network.js';

/** Bytes of similarities at once: what a core's own cache holds is ranked from there. */
const SIMILARITY_BYTES = 4 * 1024 * 1024;

export class BankSearch {
  private readonly rows: WindowRows;
  private readonly network: SizedNetwork;
  private readonly tilesPerRun: number;
  private similarities: Float32Array<ArrayBuffer> = new Float32Array(0);

  constructor(
    vino: OpenVino,
    private readonly source: EngineModelSource & Required<Pick<EngineModelSource, 'search'>>,
    threads: number,
  ) {
    const { bank, scoring } = source.search;
    const { patchGrid, patchesPerTile } = source.geometry;
    this.rows = new WindowRows(bank, source.geometry, scoring.searchRadius ?? patchGrid);
    const bytesPerTile = patchesPerTile * bank.rows * Float32Array.BYTES_PER_ELEMENT;
    this.tilesPerRun = Math.max(1, Math.floor(SIMILARITY_BYTES / bytesPerTile));
    this.network = new SizedNetwork(
      vino,
      buildSimilarityOnnx(bank, this.rows.rows),
      (tiles) => [tiles * patchesPerTile, bank.dimension],
      (tiles) => [tiles * patchesPerTile, bank.rows],
      { threads, precision: 'f32' },
    );
  }

  /**
   * Bank rows [patches, K], nearest first, ties to the lowest row.
   * @param embeddings float32 [patches, D]
   */
  nearest(tiles: TileBatch, embeddings: Float32Array): Int32Array {
    const { bank, scoring } = this.source.search;
    const { patchesPerTile } = this.source.geometry;
    const k = scoring.neighbourCount;
    const cells = patchCells(this.source, tiles);
    const found = new Int32Array(cells.length * k);
    for (const { first, size } of piecesOf(tiles.count, this.tilesPerRun)) {
      const patches = size * patchesPerTile;
      const from = first * patchesPerTile;
      const length = patches * bank.rows;
      if (this.similarities.length < length) this.similarities = new Float32Array(length);
      const queries = embeddings.subarray(from * bank.dimension, (from + patches) * bank.dimension);
      this.network.run(size, queries, this.similarities);
      for (let patch = 0; patch < patches; patch++) {
        const at = (from + patch) * k;
        this.rows.nearestOf(this.similarities, patch * bank.rows, cells[from + patch]!, k, found, at);
      }
    }
    return found;
  }

  dispose(): void {
    this.network.dispose();
  }
}
