/** Tests that every engine has to pass on every machine. */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'mocha';
import { allocatePatchBatch } from '../../../src/engines/batch.js';
import type {
  Engine,
  EngineModelSource,
  EngineName,
  PatchBatch,
  TileBatch,
} from '../../../src/engines/engine.js';
import { createEngine } from '../../../src/engines/selection/select.js';
import type { ScoringSpec } from '../../../src/geometry/specifications.js';
import { referencePatches } from '../../reference/score.js';
import { randomBank, randomTiles, SMALL_DIMENSION, smallSource } from '../../reference/small-model.js';

async function runOnce(engine: Engine, source: EngineModelSource, tiles: TileBatch): Promise<PatchBatch> {
  const model = await engine.load(source);
  try {
    const patches = allocatePatchBatch(tiles.count, model);
    await model.run(tiles, patches);
    return patches;
  } finally {
    await model.dispose();
  }
}

function largestDifference(a: ArrayLike<number>, b: ArrayLike<number>): number {
  assert.equal(a.length, b.length);
  return Array.from(a).reduce((most, value, index) => Math.max(most, Math.abs(value - b[index]!)), 0);
}

const FORMS: Partial<ScoringSpec>[] = [
  { distance: 'angular', form: 'mean', searchRadius: 1 },
  { distance: 'chord', form: 'weighted', searchRadius: null },
  { distance: 'chord', form: 'mean', searchRadius: 0, neighbourCount: 2 },
];

/** @param timeoutMs of one test; software adapters need more */
export function engineSuite(name: EngineName, timeoutMs = 60_000): void {
  describe(`engine ${name}`, function () {
    this.timeout(timeoutMs);
    let engine: Engine;
    before(async () => {
      engine = await createEngine(name);
    });
    after(() => engine.dispose());

    for (const form of FORMS) {
      it(`agrees with the float64 reference for ${JSON.stringify(form)}`, async () => {
        const source = smallSource(11, form);
        const tiles = randomTiles(source, 9, 5);
        const patches = await runOnce(engine, source, tiles);
        const expected = referencePatches(source, tiles);
        const k = source.search.scoring.neighbourCount;
        assert.ok(
          largestDifference(
            patches.scores,
            expected.map(({ score }) => score),
          ) < 1e-5,
        );
        assert.ok(
          largestDifference(
            patches.embeddings,
            expected.flatMap(({ embedding }) => [...embedding]),
          ) < 1e-5,
        );
        const neighbours = expected.flatMap(({ neighbours: each }) => each);
        assert.equal(neighbours.length, expected.length * k);
        assert.deepEqual(
          [...patches.neighbourIndices],
          neighbours.map(({ row }) => row),
        );
        assert.ok(
          largestDifference(
            patches.neighbourDistances,
            neighbours.map(({ distance }) => distance),
          ) < 1e-5,
        );
      });
    }

    it('finds the neighbours of the float64 reference in a bank of a thousand rows', async () => {
      const source = smallSource(19, { searchRadius: null });
      const bank = randomBank(source.geometry.patchGrid, 13, SMALL_DIMENSION, 20);
      const large = { ...source, search: { ...source.search, bank } };
      const tiles = randomTiles(source, 3, 12);
      const { neighbourIndices } = await runOnce(engine, large, tiles);
      const expected = referencePatches(large, tiles).flatMap(({ neighbours }) => neighbours);
      assert.deepEqual(
        [...neighbourIndices],
        expected.map(({ row }) => row),
      );
    });

    it('gives the same neighbours and scores where the bank is searched in chunks', async () => {
      const source = smallSource(18, { searchRadius: 1 });
      const tiles = randomTiles(source, 4, 11);
      const inOneChunk = await runOnce(engine, source, tiles);
      const options = { similarityBytesMax: 4096, batchTilesMax: 4 };
      const inChunks = await runOnce(engine, { ...source, search: { ...source.search, options } }, tiles);
      assert.deepEqual(inChunks.neighbourIndices, inOneChunk.neighbourIndices);
      assert.deepEqual(inChunks.scores, inOneChunk.scores);
    });

    it('gives a tile the same score in every batch', async () => {
      const source = smallSource(12);
      const tiles = randomTiles(source, 13, 6);
      const together = await runOnce(engine, source, tiles);
      const bytes = source.geometry.tilePixels;
      for (const tile of [0, 5, 12]) {
        const single = await runOnce(engine, source, {
          count: 1,
          pixels: tiles.pixels.slice(tile * bytes, (tile + 1) * bytes),
          positions: tiles.positions.slice(2 * tile, 2 * tile + 2),
        });
        const patchCount = single.scores.length;
        const inBatch = together.scores.subarray(tile * patchCount, (tile + 1) * patchCount);
        assert.ok(largestDifference(single.scores, inBatch) <= 1e-6);
      }
    });

    it('gives distance 0 to a prototype that equals the embedding', async () => {
      const source = smallSource(13, { neighbourCount: 1, searchRadius: null });
      const tiles = randomTiles(source, 1, 7);
      const { embeddings } = await runOnce(engine, source, tiles);
      const { bank, scoring } = source.search;
      const prototypes = bank.prototypes.slice();
      prototypes.set(embeddings.subarray(0, bank.dimension), 17 * bank.dimension);
      const patches = await runOnce(
        engine,
        { ...source, search: { bank: { ...bank, prototypes }, scoring } },
        tiles,
      );
      assert.equal(patches.neighbourIndices[0], 17);
      assert.ok(patches.scores[0]! < 1e-6);
    });

    it('gives the lowest rows of equal prototypes', async () => {
      const source = smallSource(14, { neighbourCount: 4, searchRadius: null });
      const tiles = randomTiles(source, 1, 8);
      const { embeddings } = await runOnce(engine, source, tiles);
      const { bank, scoring } = source.search;
      const prototypes = bank.prototypes.slice();
      // Not more than the candidates of a search (`candidatesFor`), whose distances are computed exactly.
      const equalRows = [5, 17, 18, 63, 64, 200, 321, 322];
      for (const row of equalRows) {
        prototypes.set(embeddings.subarray(0, bank.dimension), row * bank.dimension);
      }
      const search = { bank: { ...bank, prototypes }, scoring };
      const { neighbourIndices } = await runOnce(engine, { ...source, search }, tiles);
      assert.deepEqual([...neighbourIndices.subarray(0, 4)], equalRows.slice(0, 4));
    });

    it('reads tiles from shared memory and writes nothing after the last tile', async () => {
      const source = smallSource(15);
      const tiles = randomTiles(source, 2, 9);
      const pixels = new Uint8Array(new SharedArrayBuffer(4 * source.geometry.tilePixels));
      pixels.set(tiles.pixels);
      const model = await engine.load(source);
      const patches = allocatePatchBatch(4, model);
      patches.scores.fill(-1);
      await model.run({ ...tiles, pixels }, patches);
      await model.dispose();
      const expected = await runOnce(engine, source, tiles);
      const written = expected.scores.length;
      assert.deepEqual(patches.scores.slice(0, written), expected.scores);
      assert.ok(patches.scores.subarray(written).every((score) => score === -1));
    });

    it('gives only embeddings where there is no bank', async () => {
      const { search, ...source } = smallSource(16);
      assert.ok(search);
      const model = await engine.load(source);
      assert.equal(model.neighbourCount, 0);
      const patches = allocatePatchBatch(1, model);
      patches.scores.fill(-1);
      await model.run(randomTiles(source, 1, 10), patches);
      await model.dispose();
      assert.ok(patches.scores.every((score) => score === -1));
      const length = Math.hypot(...patches.embeddings.subarray(0, model.dimension));
      assert.ok(Math.abs(length - 1) < 1e-5);
    });

    it('reports a batch it cannot run as ENGINE_FAILED', async () => {
      const source = smallSource(17);
      const model = await engine.load(source);
      const batch = { count: 2, pixels: new Uint8Array(7), positions: new Int32Array(4) };
      await assert.rejects(model.run(batch, allocatePatchBatch(2, model)), { reason: 'ENGINE_FAILED' });
      await model.dispose();
    });
  });
}
