import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { kneeOf, measureLatencies } from '../../../src/pool/warm-up.js';

const curve = (...points: [number, number][]) =>
  points.map(([batchSize, latencyMs]) => ({ batchSize, latencyMs }));

describe('kneeOf', () => {
  it('takes the smallest size within 3 % of the best throughput', () => {
    assert.equal(kneeOf(curve([1, 20], [2, 39.5], [4, 79])), 1);
    assert.equal(kneeOf(curve([1, 2.0], [2, 2.5], [4, 3.5], [8, 7.0])), 4);
    assert.equal(kneeOf(curve([1, 10], [2, 10], [4, 10], [8, 10])), 8);
  });

  it('counts what a batch costs the main thread: small tiles ride in larger batches', () => {
    const flat = curve([1, 0.5], [2, 1], [4, 2], [8, 4], [16, 8]);
    assert.equal(kneeOf(flat, { throughputShare: 0.97, latencyMsMax: 100, dispatchMs: 0 }), 1);
    assert.equal(kneeOf(flat), 8);
  });

  it('leaves out sizes that keep an urgent tile waiting too long, but never size 1', () => {
    assert.equal(kneeOf(curve([1, 60], [2, 90], [4, 120])), 2);
    assert.equal(kneeOf(curve([1, 500])), 1);
  });
});

describe('measureLatencies', () => {
  const measure = async (msPerBatch: (size: number) => number, capacity: number, budgetMs: number) => {
    let time = 0;
    const points = await measureLatencies(
      async (size) => {
        time += msPerBatch(size);
      },
      { capacity, budgetMs, now: () => time },
    );
    return { points, time };
  };

  it('measures what the slot can hold', async () => {
    const { points } = await measure((size) => size / 10, 12, 600);
    assert.deepEqual(
      points.map(({ batchSize }) => batchSize),
      [1, 2, 4, 8],
    );
    assert.ok(Math.abs(points[3]!.latencyMs - 0.8) < 1e-9);
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
