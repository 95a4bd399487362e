/** The encoder of a model in OpenVINO: one network in float32, or a head in bfloat16 and a tail in float32. */

import { inputWidthOf } from '../../network/description.js';
import { buildOnnx } from '../../network/onnx/build.js';
import { buildHeadAndTail } from '../../network/onnx/head-and-tail.js';
import { subBatchesOf } from '../batch.js';
import type { EngineModel, EngineModelSource, TileBatch } from '../engine.js';
import type { OpenVino, TensorData } from './library.js';
import { type ShapeOf, SizedNetwork } from './sized-network.js';

/** Tiles of one run; larger runs are not faster. */
const TILES_MAX = 16;

/**
 * Within the head, OpenVINO keeps operations in float32 that no convolution follows, such as the logarithms and
 * variances of a filter bank.
 */
export class Encoder {
  /** The whole encoder, or its head in bfloat16. */
  private readonly head: SizedNetwork;
  /** The output of the head, and the network that reads it; undefined where the head is the whole encoder. */
  private readonly tail: { readonly network: SizedNetwork; readonly features: Float32Array } | undefined;

  constructor(
    vino: OpenVino,
    private readonly source: EngineModelSource,
    private readonly sizes: Pick<EngineModel, 'patchCount' | 'dimension'>,
    { threads, bfloat16 }: { readonly threads: number; readonly bfloat16: boolean },
  ) {
    const { network } = source;
    const tiles: ShapeOf = (count) => [count, network.inputSize, inputWidthOf(network), 1];
    const embeddings: ShapeOf = (count) => [count * sizes.patchCount, sizes.dimension];
    const float32 = { threads, precision: 'f32' } as const;
    if (bfloat16) {
      const { head, tail, featureCount } = buildHeadAndTail(source);
      const features: ShapeOf = (count) => [count, featureCount];
      this.head = new SizedNetwork(vino, head, tiles, [features], { threads, precision: 'bf16' });
      this.tail = {
        network: new SizedNetwork(vino, tail, features, [embeddings], float32),
        features: new Float32Array(TILES_MAX * featureCount),
      };
    } else {
      this.head = new SizedNetwork(vino, buildOnnx(source), tiles, [embeddings], float32);
    }
  }

  /** @param embeddings float32 [tiles, P, D]. Tiles and embeddings are read and written in place, without a copy. */
  run(tiles: TileBatch, embeddings: Float32Array): void {
    const { tilePixels } = this.source.geometry;
    const valuesPerTile = this.sizes.patchCount * this.sizes.dimension;
    for (const { first, size } of subBatchesOf(tiles.count, TILES_MAX)) {
      const pixels: TensorData = tiles.pixels.subarray(first * tilePixels, (first + size) * tilePixels);
      const output = embeddings.subarray(first * valuesPerTile, (first + size) * valuesPerTile);
      this.head.run(size, pixels, [this.tail?.features ?? output]);
      this.tail?.network.run(size, this.tail.features, [output]);
    }
  }

  dispose(): void {
    this.head.dispose();
    this.tail?.network.dispose();
  }
}
