/** The encoder of a model in OpenVINO: one network, or two where most of it runs in bfloat16. */

import { inputWidthOf } from '../../network/description.js';
import { buildOnnx } from '../../network/onnx/build.js';
import { buildOnnxParts } from '../../network/onnx/encoder-parts.js';
import { piecesOf } from '../batch.js';
import type { EngineModel, EngineModelSource, TileBatch } from '../engine.js';
import type { OpenVino, TensorData } from './library.js';
import { type ShapeOf, SizedNetwork } from './sized-network.js';

/** Tiles of one run; more at once gain nothing. */
const MAX_TILES = 16;

/**
 * What of the first part no convolution follows, such as the logarithms and variances of a filter bank, OpenVINO
 * itself keeps in float32.
 */
export class Encoder {
  /** Whole, or its part in bfloat16. */
  private readonly first: SizedNetwork;
  private readonly rest: { readonly network: SizedNetwork; readonly features: Float32Array } | undefined;

  constructor(
    vino: OpenVino,
    private readonly source: EngineModelSource,
    private readonly sizes: Pick<EngineModel, 'patchCount' | 'dimension'>,
    { threads, bfloat16 }: { readonly threads: number; readonly bfloat16: boolean },
  ) {
    const { network } = source;
    const tiles: ShapeOf = (count) => [count, network.inputSize, inputWidthOf(network), 1];
    const embeddings: ShapeOf = (count) => [count * sizes.patchCount, sizes.dimension];
    const exact = { threads, precision: 'f32' } as const;
    if (bfloat16) {
      const { head, tail, featureCount } = buildOnnxParts(source);
      const features: ShapeOf = (count) => [count, featureCount];
      this.first = new SizedNetwork(vino, head, tiles, [features], { threads, precision: 'bf16' });
      this.rest = {
        network: new SizedNetwork(vino, tail, features, [embeddings], exact),
        features: new Float32Array(MAX_TILES * featureCount),
      };
    } else {
      this.first = new SizedNetwork(
        vino,
        buildOnnx(source, { rounding: 'activations' }),
        tiles,
        [embeddings],
        exact,
      );
    }
  }

  /** @param embeddings float32 [tiles, P, D]: written where they lie, as the tiles are read. */
  run(tiles: TileBatch, embeddings: Float32Array): void {
    const { tilePixels } = this.source.geometry;
    const perTile = this.sizes.patchCount * this.sizes.dimension;
    for (const { first, size } of piecesOf(tiles.count, MAX_TILES)) {
      const pixels: TensorData = tiles.pixels.subarray(first * tilePixels, (first + size) * tilePixels);
      const out = embeddings.subarray(first * perTile, (first + size) * perTile);
      this.first.run(size, pixels, [this.rest?.features ?? out]);
      this.rest?.network.run(size, this.rest.features, [out]);
    }
  }

  dispose(): void {
    this.first.dispose();
    this.rest?.network.dispose();
  }
}
