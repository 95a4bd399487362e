import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { measureLatencies, planBatches } from '../../../src/pool/warm-up.js';

const curve = (...points: [number, number][]) =>
  points.map(([batchSize, latencyMs]) => ({ batchSize, latencyMs }));

describe('planBatches', () => {
  it('chooses the smallest piece with nearly the best throughput', () => {
    assert.equal(planBatches(curve([1, 20], [2, 39.8], [4, 79]), 32).pieceSize, 1);
    assert.equal(planBatches(curve([1, 2.0], [2, 2.5], [4, 3.5], [8, 7.0]), 32).pieceSize, 4);
    assert.equal(planBatches(curve([1, 10], [2, 10], [4, 10], [8, 10]), 8).pieceSize, 8);
  });

  it('puts fast pieces into batches of about 20 ms, and slow pieces into batches of their own', () => {
    assert.deepEqual(planBatches(curve([1, 1.6], [2, 3], [4, 5.6], [8, 12]), 32), {
      pieceSize: 4,
      maxBatchSize: 12,
    });
    assert.deepEqual(planBatches(curve([1, 7], [2, 14.5]), 32), { pieceSize: 1, maxBatchSize: 2 });
    assert.deepEqual(planBatches(curve([1, 20.5], [2, 40.8]), 32), { pieceSize: 1, maxBatchSize: 1 });
  });

  it('plans no batch larger than a slot', () => {
    assert.deepEqual(planBatches(curve([1, 0.1], [2, 0.15], [4, 0.25]), 6), {
      pieceSize: 4,
      maxBatchSize: 4,
    });
  });

  it('excludes pieces for which an urgent tile would wait too long, but not size 1', () => {
    assert.equal(planBatches(curve([1, 30], [2, 45], [4, 60]), 32).pieceSize, 2);
    assert.equal(planBatches(curve([1, 500]), 32).pieceSize, 1);
  });
});

describe('measureLatencies', () => {
  const measure = async (msPerBatch: (size: number) => number, capacity: number, budgetMs: number) => {
    let time = 0;
    const points = await measureLatencies(
      async (size) => {
        time += msPerBatch(size);
        return msPerBatch(size);
      },
      { capacity, budgetMs, now: () => time },
    );
    return { points, time };
  };

  it('measures the sizes that a slot can hold', async () => {
    const { points } = await measure((size) => size / 10, 12, 600);
    assert.deepEqual(
      points.map(({ batchSize }) => batchSize),
      [1, 2, 4, 8],
    );
    assert.ok(Math.abs(points[3]!.latencyMs - 0.8) < 1e-9);
  });

  it('does not measure the first batch of a size, in which an engine may compile', async () => {
    const seen = new Set<number>();
    const { points } = await measure(
      (size) => {
        if (seen.has(size)) return size / 10;
        seen.add(size);
        return 400;
      },
      16,
      600,
    );
    assert.deepEqual(
      points.map(({ batchSize, latencyMs }) => [batchSize, latencyMs]),
      [1, 2, 4, 8, 16].map((size) => [size, size / 10]),
    );
  });

  it('stops early on a slow engine', async () => {
    const { points, time } = await measure((size) => 100 * size, 32, 600);
    assert.deepEqual(
      points.map(({ batchSize }) => batchSize),
      [1, 2],
    );
    assert.ok(time <= 1300);
  });
});
