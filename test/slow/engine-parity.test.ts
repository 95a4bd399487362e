/**
 * Compares 500 tiles on every engine that this machine can run: with the float64 reference, between engines, and
 * between batches. The tiles are from radiographs where ../shared/data exists, else from phantoms. The reference takes
 * 0.3 to 3 s for a tile, so only some tiles are compared with it; all tiles are compared with onnx. WebGPU is included
 * on hardware only: SwiftShader scores one tile per second and has its own suite.
 */
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'mocha';
import { type Bundle, readBundle } from '../../src/bundle/bundle.js';
import { allocatePatchBatch } from '../../src/engines/batch.js';
import { ENGINE_NAMES, type Engine, type EngineModel, type TileBatch } from '../../src/engines/engine.js';
import { createEngine } from '../../src/engines/selection/select.js';
import type { SaladError } from '../../src/errors/index.js';
import { allTiles, tilePositionOf } from '../../src/geometry/tile-index.js';
import { defaultPixelFormat } from '../../src/imaging/pixel-format/pixel-format.js';
import { WorkingImage } from '../../src/imaging/working-image/working-image.js';
import { makePhantom } from '../../src/phantom/phantom.js';
import { aggregateImage } from '../../src/scoring/calibration.js';
import { smoothedScores } from '../../src/scoring/patch-z.js';
import { loadDataset } from '../../src/training/data/dataset.js';
import { renderAll } from '../../src/training/data/render.js';
import { createRandom } from '../../src/util/random.js';
import { referencePatches } from '../reference/score.js';
import { BATCH_ERROR_MAX, ENGINE_ERROR_MAX } from '../support/engines/rounding.js';
import { root } from '../support/root.js';

const ZHANGLAB = join(root, '../shared/data/zhanglab/test');
const TAU_MIN = 0.999;
/** oneDNN in libtensorflow selects its kernels by the size of the batch: 1.3e-6 was measured on an AMD EPYC. */
const BATCH_ERROR_MAX_OF: Partial<Record<string, number>> = { tensorflow: 4e-6 };
/** Together 500 tiles. A tile of the chest models is a whole image, so its scores also rank the images. */
const CASES = [
  { model: 'chest-pediatric/1', tiles: 256, referenceTiles: 12 },
  { model: 'chest-adult/2', tiles: 60, referenceTiles: 2 },
  { model: 'phantom/1', tiles: 184, referenceTiles: 12 },
] as const;

function phantomImage({ manifest, geometry }: Bundle, seed: number): WorkingImage {
  const { samples, rows, columns } = makePhantom({ seed, size: 256, lesion: seed % 2 ? 'effusion' : 'none' });
  const format = defaultPixelFormat(rows, columns, 16, 12);
  const image = new WorkingImage(geometry, manifest.input, format, manifest.tiling.minStd, 'rows');
  image.pushRows(new Uint8Array(samples.buffer, samples.byteOffset, samples.byteLength));
  image.complete();
  return image;
}

async function* images(bundle: Bundle): AsyncGenerator<WorkingImage> {
  if (existsSync(ZHANGLAB)) {
    const dataset = await loadDataset(ZHANGLAB);
    for await (const { image } of renderAll(dataset.images, bundle.manifest)) yield image;
  }
  for (let seed = 5_200_000; ; seed++) yield phantomImage(bundle, seed);
}

/** Tiles that are not background, image by image. */
async function cutTiles(bundle: Bundle, count: number): Promise<TileBatch> {
  const { tilePixels } = bundle.geometry;
  const pixels = new Uint8Array(count * tilePixels);
  const positions = new Int32Array(2 * count);
  let at = 0;
  for await (const image of images(bundle)) {
    for (const tile of allTiles(bundle.geometry)) {
      if (at === count) break;
      if (image.isBackground(tile)) continue;
      const { row, column } = tilePositionOf(bundle.geometry, tile);
      image.cutTile(tile, pixels.subarray(at * tilePixels, (at + 1) * tilePixels));
      positions.set([row, column], 2 * at++);
    }
    if (at === count) break;
  }
  return { count, pixels, positions };
}

function pick(tiles: TileBatch, indices: readonly number[]): TileBatch {
  const bytes = tiles.pixels.length / tiles.count;
  const pixels = new Uint8Array(indices.length * bytes);
  const positions = new Int32Array(2 * indices.length);
  indices.forEach((tile, place) => {
    pixels.set(tiles.pixels.subarray(tile * bytes, (tile + 1) * bytes), place * bytes);
    positions.set(tiles.positions.subarray(2 * tile, 2 * tile + 2), 2 * place);
  });
  return { count: indices.length, pixels, positions };
}

/** float32 [tiles, P] in the order of `tiles`; runs them in `order`, in batches whose sizes repeat `sizes`. */
async function scoresOf(
  model: EngineModel,
  tiles: TileBatch,
  order: readonly number[],
  sizes: readonly number[],
): Promise<Float32Array> {
  const scores = new Float32Array(tiles.count * model.patchCount).fill(Number.NaN);
  for (let from = 0, batch = 0; from < order.length; batch++) {
    const indices = order.slice(from, from + sizes[batch % sizes.length]!);
    const patches = allocatePatchBatch(indices.length, model);
    await model.run(pick(tiles, indices), patches);
    indices.forEach((tile, place) => {
      const own = patches.scores.subarray(place * model.patchCount, (place + 1) * model.patchCount);
      scores.set(own, tile * model.patchCount);
    });
    from += indices.length;
  }
  return scores;
}

/** NaN counts as an infinite difference, so that a tile without a score does not pass. */
function largestDifference(a: ArrayLike<number>, b: ArrayLike<number>): number {
  assert.equal(a.length, b.length);
  let most = 0;
  for (let index = 0; index < a.length; index++) {
    const difference = Math.abs(a[index]! - b[index]!);
    most = Math.max(most, Number.isNaN(difference) ? Number.POSITIVE_INFINITY : difference);
  }
  return most;
}

/** Kendall's tau-b: the data set contains exact duplicates, which are ties. */
function kendallTau(a: readonly number[], b: readonly number[]): number {
  let [sum, untiedA, untiedB] = [0, 0, 0];
  for (let i = 0; i < a.length; i++) {
    for (let j = 0; j < i; j++) {
      const [x, y] = [Math.sign(a[i]! - a[j]!), Math.sign(b[i]! - b[j]!)];
      sum += x * y;
      untiedA += Math.abs(x);
      untiedB += Math.abs(y);
    }
  }
  return sum / Math.sqrt(untiedA * untiedB);
}

function shuffled(count: number): number[] {
  const random = createRandom(7);
  const order = Array.from({ length: count }, (_, tile) => tile);
  for (let last = count - 1; last > 0; last--) {
    const other = Math.floor(random() * (last + 1));
    [order[last], order[other]] = [order[other]!, order[last]!];
  }
  return order;
}

function imageScores({ manifest, geometry }: Bundle, scores: Float32Array): number[] {
  const cells = geometry.patchGrid ** 2;
  return Array.from({ length: scores.length / cells }, (_, image) => {
    const own = scores.slice(image * cells, (image + 1) * cells);
    // Without embeddings every image counts as the same mixture of views.
    const embeddings = new Float32Array(cells * manifest.bank.dimension);
    const smoothed = smoothedScores(manifest, { scores: own, embeddings });
    return aggregateImage(smoothed, manifest, geometry).score;
  });
}

async function startEngines(): Promise<Engine[]> {
  const engines: Engine[] = [];
  for (const name of ENGINE_NAMES) {
    try {
      const engine = await createEngine(name);
      if (name === 'webgpu' && !engine.info.hardware) await engine.dispose();
      else engines.push(engine);
    } catch (error) {
      // ENGINE_UNAVAILABLE: not on this machine. Any other error is a failure of the engine.
      if ((error as SaladError).reason !== 'ENGINE_UNAVAILABLE') throw error;
    }
  }
  return engines;
}

for (const { model: name, tiles: count, referenceTiles } of CASES) {
  describe(`engines on ${count} tiles of ${name}`, function () {
    // wasm alone takes four minutes where other processes use the cores.
    this.timeout(600_000);
    const scores = new Map<string, { readonly inOrder: Float32Array; readonly shuffled: Float32Array }>();
    let bundle: Bundle;
    let tiles: TileBatch;
    let engines: Engine[] = [];

    before(async () => {
      bundle = await readBundle(join(root, 'models', name));
      tiles = await cutTiles(bundle, count);
      engines = await startEngines();
      const order = Array.from({ length: count }, (_, tile) => tile);
      for (const engine of engines) {
        const model = await engine.load(bundle);
        scores.set(engine.info.name, {
          inOrder: await scoresOf(model, tiles, order, [16]),
          shuffled: await scoresOf(model, tiles, shuffled(count), [1, 7, 32, 3]),
        });
        await model.dispose();
      }
    });
    after(async () => {
      for (const engine of engines) await engine.dispose();
    });

    it('include onnx and wasm on every machine', () => {
      assert.ok(scores.has('onnx') && scores.has('wasm'), [...scores.keys()].join());
    });

    it(`compute the scores of the float64 reference for ${referenceTiles} of them`, () => {
      // Evenly spaced: the tiles of normals are first, then those with pneumonia.
      const some = Array.from({ length: referenceTiles }, (_, i) => Math.floor((i * count) / referenceTiles));
      const expected = referencePatches(bundle, pick(tiles, some)).map(({ score }) => score);
      const perTile = expected.length / referenceTiles;
      for (const [engine, { inOrder }] of scores) {
        const own = some.flatMap((tile) => [...inOrder.subarray(tile * perTile, (tile + 1) * perTile)]);
        const error = largestDifference(own, expected);
        assert.ok(error <= ENGINE_ERROR_MAX, `${engine}: ${error}`);
      }
    });

    it('compute the same scores for all of them', () => {
      const base = scores.get('onnx')!.inOrder;
      for (const [engine, { inOrder }] of scores) {
        const error = largestDifference(inOrder, base);
        assert.ok(error <= ENGINE_ERROR_MAX, `${engine}: ${error}`);
      }
    });

    it('compute the same score of a tile in every batch', () => {
      for (const [engine, own] of scores) {
        const error = largestDifference(own.inOrder, own.shuffled);
        assert.ok(error <= (BATCH_ERROR_MAX_OF[engine] ?? BATCH_ERROR_MAX), `${engine}: ${error}`);
      }
    });

    if (name.startsWith('chest-')) {
      it('rank the images in the same order', () => {
        const base = imageScores(bundle, scores.get('onnx')!.inOrder);
        assert.ok(new Set(base).size > count / 2, 'the ranking is all ties');
        for (const [engine, { inOrder }] of scores) {
          const tau = kendallTau(imageScores(bundle, inOrder), base);
          assert.ok(tau >= TAU_MIN, `${engine}: tau ${tau}`);
        }
      });
    }
  });
}
