import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import * as fc from 'fast-check';
import { describe, it } from 'mocha';
import {
  anchorCount,
  discoverAnchors,
  lastRound,
  memoryEntropies,
  nearestRows,
  selectAnchors,
} from '../../../../../src/training/encoders/salad/anchors.js';
import { createMemory, type TrainingMemory } from '../../../../../src/training/encoders/salad/memory.js';
import { randomStream } from '../../../../../src/training/encoders/salad/random-streams.js';

const oracles = JSON.parse(
  readFileSync(new URL('../../../../oracles/salad-oracles.json', import.meta.url), 'utf8'),
);
const bank: TrainingMemory = {
  rows: 5,
  dimension: 2,
  values: Float32Array.from(
    oracles.bank_deg.flatMap((degrees: number) => [
      Math.cos((degrees * Math.PI) / 180),
      Math.sin((degrees * Math.PI) / 180),
    ]),
  ),
};
const options = { temperature: oracles.T as number, selfMasked: false };

describe('SALAD anchors', () => {
  it('are ranked by entropy as in salad-oracles.json', async () => {
    const { H, order_low_to_high, max_entropy_lnN } = oracles.entropy;
    const entropies = await memoryEntropies(bank, options);
    entropies.forEach((value, row) => {
      assert.ok(Math.abs(value - H[row]) < 1e-6, `row ${row}: ${value} is not ${H[row]}`);
      assert.ok(value <= max_entropy_lnN);
    });
    assert.deepEqual(Array.from(selectAnchors(entropies, 5)), order_low_to_high);
  });

  it('are selected in each round, with their neighbours', async () => {
    const { rate, n_anchors_r0_r1_r2, anchors_r1, neighbours_k2 } = oracles.entropy;
    const rounds = await Promise.all(
      [0, 1, 2].map((round) => discoverAnchors(bank, { ...options, rate, round, neighbours: 2 })),
    );
    assert.deepEqual(
      rounds.map((round) => round.anchors.length),
      n_anchors_r0_r1_r2,
    );
    assert.deepEqual(Array.from(rounds[1]!.anchors), anchors_r1);
    const all = await discoverAnchors(bank, { ...options, rate: 1, round: 1, neighbours: 2 });
    for (let row = 0; row < 5; row++)
      assert.deepEqual(Array.from(all.neighbours.get(row)!), neighbours_k2[row]);
  });

  it('number N * rate * round, and in the last round of the paper all rows', () => {
    assert.equal(lastRound(0.1), 10);
    assert.equal(lastRound(0.25), 4);
    assert.equal(anchorCount(4000, 0.1, 3), 1200);
    assert.equal(anchorCount(4321, 0.1, 10), 4321);
    assert.equal(anchorCount(7, 0.1, 3), 2);
  });

  it('have entropies between 0 and ln N, and self-masking raises that of an isolated row', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 1, max: 1e6 }),
        fc.integer({ min: 2, max: 30 }),
        async (seed, rows) => {
          const memory = createMemory(rows, 5, randomStream(seed));
          for (const selfMasked of [false, true]) {
            for (const value of await memoryEntropies(memory, { ...options, selfMasked })) {
              assert.ok(value >= 0 && value <= Math.log(rows) + 1e-9);
            }
          }
        },
      ),
      { numRuns: 40 },
    );
    const masked = await memoryEntropies(bank, { ...options, selfMasked: true });
    assert.ok(masked[3]! > (await memoryEntropies(bank, options))[3]! + 0.1);
  });

  it('have the nearest allowed rows as neighbours, ties by index', () => {
    const alike = Float32Array.from([0.5, 0.9, 0.5, 0.9, 0.5]);
    assert.deepEqual(Array.from(nearestRows(alike, 1, 3)), [3, 0, 2]);
    assert.deepEqual(Array.from(nearestRows(alike, 1, 3, (_, row) => row !== 0)), [3, 2, 4]);
    assert.deepEqual(Array.from(nearestRows(alike, 0, 4, (_, row) => row === 2)), [2]);
  });

  it('are the same from float32 and from float64 similarities', async () => {
    const memory = createMemory(60, 8, randomStream(5));
    const inFloat32 = await discoverAnchors(memory, {
      ...options,
      rate: 0.5,
      round: 1,
      neighbours: 3,
      similarityBlock: async (m, first, last) => {
        const out = new Float32Array((last - first) * m.rows);
        for (let q = first; q < last; q++)
          for (let r = 0; r < m.rows; r++)
            for (let d = 0; d < m.dimension; d++)
              out[(q - first) * m.rows + r]! +=
                m.values[q * m.dimension + d]! * m.values[r * m.dimension + d]!;
        return out;
      },
    });
    const exact = await discoverAnchors(memory, { ...options, rate: 0.5, round: 1, neighbours: 3 });
    assert.deepEqual(inFloat32.anchors, exact.anchors);
    assert.deepEqual(inFloat32.neighbours, exact.neighbours);
  });

  it('are refused with more neighbours than there are other rows', async () => {
    await assert.rejects(discoverAnchors(bank, { ...options, rate: 1, round: 1, neighbours: 5 }), {
      reason: 'CONFIGURATION_INVALID',
    });
  });
});
