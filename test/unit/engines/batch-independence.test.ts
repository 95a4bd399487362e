import assert from 'node:assert/strict';
import { join } from 'node:path';
import { describe, it } from 'mocha';
import { type Bundle, readBundle } from '../../../src/bundle/bundle.js';
import { allocatePatchBatch } from '../../../src/engines/batch.js';
import type { EngineModel } from '../../../src/engines/engine.js';
import { createEngine } from '../../../src/engines/selection/select.js';
import { shippedModels } from '../../../src/util/package-root.js';

const TILES = 4;

/** Embeddings and scores of the first golden tiles, run in batches of `size`. */
async function runInBatches(model: EngineModel, { golden, geometry }: Bundle, size: number) {
  const embeddings: number[] = [];
  const scores: number[] = [];
  for (let first = 0; first < TILES; first += size) {
    const patches = allocatePatchBatch(size, model);
    const pixels = golden.pixels.subarray(first * geometry.tilePixels, (first + size) * geometry.tilePixels);
    const positions = golden.positions.subarray(2 * first, 2 * (first + size));
    await model.run({ count: size, pixels, positions }, patches);
    for (const value of patches.embeddings) embeddings.push(value);
    for (const value of patches.scores) scores.push(value);
  }
  return { embeddings, scores };
}

describe('the onnx engine', function () {
  this.timeout(30_000);

  for (const name of ['phantom/1', 'chest-pediatric/1', 'chest-pediatric/2', 'chest-adult/2']) {
    it(`gives a tile of ${name} the same bits in batches of every size`, async () => {
      const bundle = await readBundle(join(shippedModels(), name));
      const engine = await createEngine('onnx');
      const model = await engine.load(bundle);
      const single = await runInBatches(model, bundle, 1);
      for (const size of [2, 4]) assert.deepEqual(await runInBatches(model, bundle, size), single);
      await model.dispose();
      await engine.dispose();
    });
  }
});
