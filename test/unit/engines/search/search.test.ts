import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { after, before, describe, it } from 'mocha';
import { allocatePatchBatch } from '../../../../src/engines/batch.js';
import type { Engine, EngineModelSource, SearchOptions } from '../../../../src/engines/engine.js';
import { openPrototypeIndex, type PrototypeIndex } from '../../../../src/engines/search/prototype-index.js';
import { createEngine } from '../../../../src/engines/selection/select.js';
import { normaliseRows } from '../../../../src/scoring/memory-bank.js';
import { chunksOf, SEARCH_LIMITS, searchPlan } from '../../../../src/scoring/search-plan.js';
import { referencePatches } from '../../../reference/score.js';
import { randomBank, randomTiles, smallSource } from '../../../reference/small-model.js';

/** Small chunks: the small bank of 324 rows is divided into many. */
const MANY_CHUNKS: SearchOptions = { similarityBytesMax: 40 * 4 * 9 * 32 };
const RADII = [null, 0, 1, 3];

function withOptions(source: ReturnType<typeof smallSource>, options: SearchOptions): EngineModelSource {
  return { ...source, search: { ...source.search, options } };
}

/** Compares nine tiles with the float64 reference. @returns how the bank was searched */
async function compareWithReference(engine: Engine, source: EngineModelSource): Promise<string> {
  const tiles = randomTiles(source, 9, 5);
  const model = await engine.load(source);
  const patches = allocatePatchBatch(tiles.count, model);
  await model.run(tiles, patches);
  await model.dispose();
  const expected = referencePatches(source, tiles);
  const neighbours = expected.flatMap((patch) => patch.neighbours);
  assert.deepEqual(
    [...patches.neighbourIndices],
    neighbours.map(({ row }) => row),
  );
  neighbours.forEach(({ distance }, at) => {
    assert.ok(Math.abs(patches.neighbourDistances[at]! - distance) < 1e-5);
  });
  expected.forEach(({ score }, at) => {
    assert.ok(Math.abs(patches.scores[at]! - score) < 1e-5);
  });
  return model.search;
}

/**
 * The same with an index. It may miss single rows (several threads build it, so the rows differ between builds), but
 * its distances are exact and never below those of the reference.
 */
async function compareIndexWithReference(engine: Engine, source: EngineModelSource): Promise<string> {
  const tiles = randomTiles(source, 9, 5);
  const model = await engine.load(source);
  const patches = allocatePatchBatch(tiles.count, model);
  await model.run(tiles, patches);
  await model.dispose();
  let found = 0;
  let expectedCount = 0;
  referencePatches(source, tiles).forEach(({ neighbours, score }, patch) => {
    const expected = new Map(neighbours.map(({ row, distance }) => [row, distance]));
    for (let k = 0; k < neighbours.length; k++) {
      const at = patch * neighbours.length + k;
      const distance = expected.get(patches.neighbourIndices[at]!);
      assert.ok(patches.neighbourDistances[at]! > neighbours[k]!.distance - 1e-5);
      expectedCount++;
      if (distance === undefined) continue;
      assert.ok(Math.abs(patches.neighbourDistances[at]! - distance) < 1e-5);
      found++;
    }
    assert.ok(patches.scores[patch]! > score - 1e-5);
  });
  assert.ok(found / expectedCount >= 0.9, `recall ${found / expectedCount}`);
  return model.search;
}

describe('search plan', () => {
  const plan = (rows: number, searchRadius: number | null, limits: Partial<typeof SEARCH_LIMITS> = {}) => {
    const bank = randomBank(4, Math.ceil(rows / 16), 2, 1);
    const geometry = { patchGrid: 4, patchesPerTile: 4 };
    const scoring = { neighbourCount: 3, searchRadius };
    return searchPlan({ bank, scoring, geometry }, { ...SEARCH_LIMITS, ...limits });
  };

  it('is exact up to 100,000 prototypes and an index above', () => {
    assert.equal(plan(100_000, null).kind, 'exact');
    assert.equal(plan(100_001, null).kind, 'index');
  });

  it('depends on the prototypes of a window, not of the bank', () => {
    assert.equal(plan(200_000, 0).kind, 'window');
    assert.equal(plan(200_000, 3).kind, 'index');
    assert.equal(plan(1600, 1).kind, 'exact');
    assert.equal(plan(1600, 1, { windowTableBytesMax: 1000 }).kind, 'window');
    // A window holds 9 of 16 cells in the middle of the grid.
    assert.equal(plan(1600, 1, { graphRowsRatioMax: 1.7 }).kind, 'window');
    assert.equal(plan(1600, 1, { graphRowsRatioMax: 1.8 }).kind, 'exact');
  });

  it('has chunks whose similarities fit into the limit', () => {
    const exact = plan(1600, null, { similarityBytesMax: 1_000_000, batchTilesMax: 10 });
    assert.equal(exact.kind, 'exact');
    if (exact.kind === 'exact') assert.equal(exact.chunkRows, Math.floor(1_000_000 / (10 * 4 * 4)));
  });

  it('divides a bank into nearly equal chunks that cover every row once', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 5000 }), fc.integer({ min: 1, max: 6000 }), (rows, chunkRows) => {
        const chunks = chunksOf(rows, chunkRows);
        assert.equal(chunks[0]!.from, 0);
        assert.equal(chunks.at(-1)!.to, rows);
        chunks.forEach(({ from, to }, index) => {
          assert.ok(to > from && to - from <= chunkRows);
          if (index > 0) assert.equal(from, chunks[index - 1]!.to);
        });
      }),
    );
  });
});

for (const name of ['onnx', 'wasm'] as const) {
  describe(`search on ${name}`, () => {
    let engine: Engine;
    let directory: string;
    before(async () => {
      engine = await createEngine(name);
      directory = await mkdtemp(join(tmpdir(), 'salad-index-test-'));
    });
    after(async () => {
      await engine.dispose();
      await rm(directory, { recursive: true, force: true });
    });

    for (const searchRadius of RADII) {
      it(`finds the same rows in chunks and at once, radius ${searchRadius}`, async () => {
        const inGraph = { graphRowsRatioMax: Number.POSITIVE_INFINITY };
        const plain = smallSource(31, { searchRadius });
        const source = withOptions(plain, inGraph);
        assert.equal(
          await compareWithReference(engine, withOptions(plain, { ...inGraph, ...MANY_CHUNKS })),
          'exact',
        );
        assert.equal(await compareWithReference(engine, source), 'exact');
      });

      it(`finds nearly all rows of the reference with an index, radius ${searchRadius}`, async () => {
        const source = smallSource(32, { searchRadius });
        const options = { exactRowsMax: 3, indexDirectory: directory };
        const search = await compareIndexWithReference(engine, withOptions(source, options));
        assert.match(search, /^index \(usearch, recall (0\.99\d|1\.000)\)$/);
      });
    }

    it('searches a window outside the graph where its table would be too large', async () => {
      const source = withOptions(smallSource(33, { searchRadius: 1 }), { windowTableBytesMax: 0 });
      assert.equal(await compareWithReference(engine, source), 'exact (search window)');
    });

    it('searches a window outside the graph where the graph would compare with far more rows', async () => {
      const source = withOptions(smallSource(34, { searchRadius: 1 }), { graphRowsRatioMax: 2 });
      assert.equal(await compareWithReference(engine, source), 'exact (search window)');
    });

    for (const searchRadius of [null, 3]) {
      it(`is exact, with the reason, where the recall of an index is too low, radius ${searchRadius}`, async () => {
        const source = smallSource(35, { searchRadius });
        const { bank } = source.search;
        // The index cannot distinguish prototypes as close as these.
        const prototypes = normaliseRows(
          bank.prototypes.map((value) => 1 + value / 1000),
          bank.dimension,
        );
        const dense = { ...source, search: { ...source.search, bank: { ...bank, prototypes } } };
        const options = { exactRowsMax: 3, indexDirectory: directory };
        const tiles = randomTiles(source, 2, 9);
        const model = await engine.load(withOptions(dense, options));
        const patches = allocatePatchBatch(2, model);
        await model.run(tiles, patches);
        await model.dispose();
        assert.match(
          model.search,
          /^exact \(.*the index finds 0\.\d+ of the neighbours, fewer than 0\.99\)$/,
        );
        referencePatches(dense, tiles).forEach(({ score }, at) => {
          assert.ok(Math.abs(patches.scores[at]! - score) < 1e-5);
        });
      });
    }

    it('gives the lowest rows across chunks where prototypes are equal', async () => {
      const source = smallSource(34, { neighbourCount: 4, searchRadius: null });
      const { bank } = source.search;
      const prototypes = bank.prototypes.slice();
      const first = prototypes.slice(0, bank.dimension);
      for (let row = 1; row < bank.rows; row++) prototypes.set(first, row * bank.dimension);
      const same = { ...source, search: { ...source.search, bank: { ...bank, prototypes } } };
      const model = await engine.load(withOptions(same, MANY_CHUNKS));
      const patches = allocatePatchBatch(1, model);
      await model.run(randomTiles(source, 1, 8), patches);
      await model.dispose();
      assert.deepEqual([...patches.neighbourIndices.subarray(0, 4)], [0, 1, 2, 3]);
    });
  });
}

describe('prototype index', () => {
  let directory: string;
  before(async () => {
    directory = await mkdtemp(join(tmpdir(), 'salad-index-test-'));
  });
  after(() => rm(directory, { recursive: true, force: true }));
  const options = () => ({ directory, neighbourCount: 5, candidates: 16 });

  it('finds the nearest rows of random queries outside its own measurement', async () => {
    const bank = randomBank(10, 40, 24, 3);
    const index = (await openPrototypeIndex(bank, options())) as PrototypeIndex;
    assert.ok(index.recall >= 0.99);
    const queries = randomBank(10, 1, 24, 4).prototypes;
    const found = index.search(queries, 100);
    let hits = 0;
    for (let query = 0; query < 100; query++) {
      const similarity = (row: number): number => {
        let dot = 0;
        for (let axis = 0; axis < 24; axis++) {
          dot += bank.prototypes[row * 24 + axis]! * queries[query * 24 + axis]!;
        }
        return dot;
      };
      const all = Array.from({ length: bank.rows }, (_, row) => row);
      all.sort((a, b) => similarity(b) - similarity(a));
      const own = new Set(found.subarray(query * 16, query * 16 + 16));
      hits += all.slice(0, 5).filter((row) => own.has(row)).length;
    }
    assert.ok(hits / 500 >= 0.98, `found ${hits} of 500`);
  });

  it('finds the same rows with several shards as with one, each row once', async () => {
    const bank = randomBank(10, 41, 24, 13);
    const one = (await openPrototypeIndex(bank, options())) as PrototypeIndex;
    const several = (await openPrototypeIndex(bank, {
      ...options(),
      shardRows: Math.ceil(bank.rows / 4),
    })) as PrototypeIndex;
    assert.deepEqual([one.paths.length, several.paths.length], [1, 4]);
    const queries = randomBank(10, 5, 24, 14).prototypes;
    const [expected, found] = [one.search(queries, 50), several.search(queries, 50)];
    let common = 0;
    for (let query = 0; query < 50; query++) {
      const own = [...found.subarray(query * 16, query * 16 + 16)];
      assert.equal(new Set(own).size, 16);
      const first = new Set(own.slice(0, 5));
      common += expected.subarray(query * 16, query * 16 + 5).filter((row) => first.has(row)).length;
    }
    // Graphs of this size are searched completely; rows differ only where their rounded distances are equal.
    assert.ok(common >= 0.98 * 250, `${common} of 250`);
  });

  it('fills with -1 where it finds fewer rows than requested', async () => {
    const bank = randomBank(2, 5, 24, 8);
    const few = { directory, neighbourCount: 5, candidates: 30 };
    const index = (await openPrototypeIndex(bank, few)) as PrototypeIndex;
    for (const count of [1, 2]) {
      const found = index.search(bank.prototypes.slice(0, 24 * count), count);
      assert.equal(found.length, count * 30);
      for (let query = 0; query < count; query++) {
        const own = [...found.subarray(query * 30, query * 30 + 30)];
        assert.equal(own[0], query);
        assert.equal(new Set(own.slice(0, 20)).size, 20);
        assert.ok(own.slice(20).every((row) => row === -1));
      }
    }
  });

  it('opens the files of the same bank again and builds new ones for another bank', async () => {
    const bank = randomBank(8, 50, 24, 5);
    const built = (await openPrototypeIndex(bank, options())) as PrototypeIndex;
    const started = performance.now();
    const opened = (await openPrototypeIndex(bank, options())) as PrototypeIndex;
    assert.ok(performance.now() - started < 200);
    assert.equal(opened.recall, built.recall);
    const queries = bank.prototypes.subarray(0, 24 * 7);
    assert.deepEqual(opened.search(queries, 7), built.search(queries, 7));
    const other = (await openPrototypeIndex(randomBank(8, 50, 24, 6), options())) as PrototypeIndex;
    assert.notDeepEqual(other.search(queries, 7), built.search(queries, 7));
  });

  it('is replaced by the reason where the library is not installed', async () => {
    const index = await openPrototypeIndex(randomBank(2, 5, 24, 9), options(), 'usearch-not-installed');
    assert.ok(
      'reason' in index && index.reason.startsWith('usearch-not-installed does not load: Cannot find'),
    );
  });

  it('is replaced by the reason where its recall is too low', async () => {
    // Only half as many candidates as neighbours: it must miss some.
    const bank = randomBank(10, 200, 3, 7);
    const index = await openPrototypeIndex(bank, { directory, neighbourCount: 64, candidates: 32 });
    assert.ok('reason' in index && /fewer than 0\.99/.test(index.reason));
  });
});
