/**
 * Searches parts of a bank in OpenVINO: OpenVINO computes all products, and the best are chosen outside, because its
 * own TopK is ten times as slow.
 */

import { patchesOf } from '../../geometry/geometry.js';
import { buildProductsOnnx } from '../../network/onnx/similarity-parts.js';
import type { Scratch } from '../scratch.js';
import type { PartGraph, SearchSource } from '../search/part-plan.js';
import type { Candidates, PartNetwork } from '../search/part-search.js';
import {
  BLOCK_ROWS,
  needsMaxima,
  productBuffers,
  productShapes,
  RankedProducts,
} from '../search/ranked-products.js';
import type { OpenVino } from './library.js';
import { SizedNetwork } from './sized-network.js';

export class PartProducts implements PartNetwork {
  private readonly network: SizedNetwork;
  private readonly shapes: ReturnType<typeof productShapes>;

  constructor(
    vino: OpenVino,
    { geometry, search: { bank } }: SearchSource,
    private readonly graph: PartGraph,
    private readonly scratch: Scratch,
    threads: number,
  ) {
    const patches = patchesOf(geometry);
    this.shapes = productShapes(graph);
    this.network = new SizedNetwork(
      vino,
      buildProductsOnnx(bank, patches, graph.parts, needsMaxima(graph) ? BLOCK_ROWS : undefined),
      (tiles) => [tiles, ...patches, bank.dimension],
      this.shapes,
      { threads, precision: 'f32' },
    );
    // Warm-up does not run a tile of every graph.
    this.network.prepare(1);
  }

  /** @param tiles a power of four */
  run(tiles: number, embeddings: Float32Array): Candidates {
    const shapes = this.shapes.map((shapeOf) => shapeOf(tiles));
    const products = productBuffers(this.scratch, shapes);
    this.network.run(tiles, embeddings, products);
    return new RankedProducts(this.graph, products);
  }

  dispose(): void {
    this.network.dispose();
  }
}
