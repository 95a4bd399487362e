/**
 * Runs whole images through an engine, for fitting, calibration and evaluation. The tiles, the engine and the
 * background rule are the server's, so that training and serving give the same scores.
 */
import { allocatePatchBatch } from '../../engines/batch.js';
import type { Engine, EngineModel, EngineModelSource, PatchBatch, Precision } from '../../engines/engine.js';
import type { Geometry } from '../../geometry/geometry.js';
import { PatchMask } from '../../geometry/patch-mask.js';
import { allTiles, tileIndexAt } from '../../geometry/tile-index.js';
import { type BatchTiles, writeTile } from '../../imaging/working-image/batch-tiles.js';
import type { WorkingImage } from '../../imaging/working-image/working-image.js';

/** Most tiles of one image in one engine call. */
const BATCH_TILES_MAX = 64;

/** Engine results of one image over the whole patch grid, row by row. */
export interface ImagePatches {
  /** float32 [patchGrid squared]; NaN where the patch is background, and everywhere without a memory bank. */
  readonly scores: Float32Array;
  /** float32 [patchGrid squared, dimension]; zero where the patch is background. */
  readonly embeddings: Float32Array;
  /** uint8 [patchGrid squared]: 1 where the patch is not background. */
  readonly scored: Uint8Array;
}

/** One loaded model with its buffers. Not reentrant: await one image before the next. */
export class ImageScorer {
  readonly geometry: Geometry;
  readonly dimension: number;
  /** The precision in which the engine runs the model. */
  readonly precision: Precision;
  readonly #model: EngineModel;
  readonly #tiles: BatchTiles;
  readonly #patches: PatchBatch;
  /** Tiles of a full batch. */
  readonly #capacity: number;
  readonly #hasBank: boolean;

  private constructor(model: EngineModel, source: EngineModelSource) {
    this.geometry = source.geometry;
    this.dimension = model.dimension;
    this.precision = model.precision;
    this.#model = model;
    this.#hasBank = source.search !== undefined;
    this.#capacity = Math.min(BATCH_TILES_MAX, source.geometry.tileCount);
    this.#tiles = {
      pixels: new Uint8Array(this.#capacity * source.geometry.tilePixels),
      positions: new Int32Array(this.#capacity * 2),
    };
    this.#patches = allocatePatchBatch(this.#capacity, model);
  }

  static async open(engine: Engine, source: EngineModelSource): Promise<ImageScorer> {
    return new ImageScorer(await engine.load(source), source);
  }

  /** Runs every tile of a complete image that is not background. */
  async run(image: WorkingImage): Promise<ImagePatches> {
    const { patchGrid, patchesPerTile } = this.geometry;
    const cells = patchGrid ** 2;
    const mask = new PatchMask(this.geometry);
    const result: ImagePatches = {
      scores: new Float32Array(cells).fill(Number.NaN),
      embeddings: new Float32Array(cells * this.dimension),
      scored: new Uint8Array(cells),
    };
    let count = 0;
    for (const tile of allTiles(this.geometry)) {
      const background = image.backgroundPatches(tile);
      if (background.length === patchesPerTile) continue;
      mask.markBackground(background);
      writeTile(this.#tiles, count, image, tile);
      count += 1;
      if (count < this.#capacity) continue;
      await this.#runBatch(count, mask, result);
      count = 0;
    }
    if (count > 0) await this.#runBatch(count, mask, result);
    return result;
  }

  async dispose(): Promise<void> {
    await this.#model.dispose();
  }

  /** Runs the first `count` tiles of the batch and copies their patches to the image's result. */
  async #runBatch(count: number, mask: PatchMask, result: ImagePatches): Promise<void> {
    const { dimension } = this;
    const { patchesPerTile } = this.geometry;
    const { positions } = this.#tiles;
    await this.#model.run({ count, ...this.#tiles }, this.#patches);
    for (let index = 0; index < count; index += 1) {
      const tile = tileIndexAt(this.geometry, positions[2 * index]!, positions[2 * index + 1]!);
      mask.forEachScored(tile, (patch, within) => {
        const from = index * patchesPerTile + within;
        const embedding = this.#patches.embeddings.subarray(from * dimension, (from + 1) * dimension);
        result.embeddings.set(embedding, patch * dimension);
        result.scored[patch] = 1;
        if (this.#hasBank) result.scores[patch] = this.#patches.scores[from]!;
      });
    }
  }
}
