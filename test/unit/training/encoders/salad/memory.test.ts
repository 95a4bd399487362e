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
import {
  gatherRows,
  initialMemory,
  type TrainingMemory,
  updateMemory,
} from '../../../../../src/training/encoders/salad/memory.js';
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
const norm = (row: Float32Array): number => Math.hypot(...row);

describe('SALAD memory', () => {
  it('moves rows as the oracle says', () => {
    for (const { m, z, mu, out } of oracles.memory) {
      const memory: TrainingMemory = { rows: 1, dimension: 2, values: Float32Array.from(m) };
      updateMemory(memory, [0], Float32Array.from(z), mu);
      const expected = typeof out === 'string' ? m : out;
      memory.values.forEach((value, d) => {
        assert.ok(Math.abs(value - expected[d]) < 1e-6, `${value} is not ${expected[d]}`);
      });
    }
  });

  it('leaves touched rows at unit length and all others bit-identical', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 1e6 }), fc.integer({ min: 2, max: 20 }), (seed, rows) => {
        const memory = initialMemory(rows, 6, randomStream(seed));
        const before = memory.values.slice();
        const z = initialMemory(1, 6, randomStream(seed, 1)).values;
        updateMemory(memory, [rows - 1], z, 0.5);
        assert.deepEqual(memory.values.subarray(0, (rows - 1) * 6), before.subarray(0, (rows - 1) * 6));
        assert.ok(Math.abs(norm(gatherRows(memory, [rows - 1])) - 1) < 1e-6);
      }),
      { numRuns: 50 },
    );
  });

  it('starts with rows of length about one', () => {
    const memory = initialMemory(400, 128, randomStream(3));
    const lengths = Array.from({ length: 400 }, (_, r) => norm(gatherRows(memory, [r])));
    assert.ok(Math.abs(lengths.reduce((a, b) => a + b, 0) / 400 - 1) < 0.01);
    assert.ok(memory.values.every((value) => Math.abs(value) <= Math.sqrt(3 / 128)));
  });
});

describe('SALAD anchors', () => {
  it('ranks rows by entropy as the oracle says', async () => {
    const { H, order_low_to_high, max_entropy_lnN } = oracles.entropy;
    const entropies = await memoryEntropies(bank, options);
    entropies.forEach((value, row) => {
      assert.ok(Math.abs(value - H[row]) < 1e-6, `row ${row}: ${value} is not ${H[row]}`);
      assert.ok(value <= max_entropy_lnN);
    });
    assert.deepEqual(Array.from(selectAnchors(entropies, 5)), order_low_to_high);
  });

  it('counts and picks the anchors of each round', async () => {
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

  it('makes everything an anchor in the last round of the paper, N times rate times round before', () => {
    assert.equal(lastRound(0.1), 10);
    assert.equal(lastRound(0.25), 4);
    assert.equal(anchorCount(4000, 0.1, 3), 1200);
    assert.equal(anchorCount(4321, 0.1, 10), 4321);
    assert.equal(anchorCount(7, 0.1, 3), 2);
  });

  it('keeps every entropy between 0 and ln N, and self-masking raises that of an isolated row', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 1, max: 1e6 }),
        fc.integer({ min: 2, max: 30 }),
        async (seed, rows) => {
          const memory = initialMemory(rows, 5, randomStream(seed));
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

  it('breaks ties by index and skips what may not be a neighbour', () => {
    const alike = Float32Array.from([0.5, 0.9, 0.5, 0.9, 0.5]);
    assert.deepEqual(Array.from(nearestRows(alike, 1, 3)), [3, 0, 2]);
    assert.deepEqual(Array.from(nearestRows(alike, 1, 3, (_, row) => row !== 0)), [3, 2, 4]);
    assert.deepEqual(Array.from(nearestRows(alike, 0, 4, (_, row) => row === 2)), [2]);
  });

  it('gives the same anchors whatever the block of similarities is computed with', async () => {
    const memory = initialMemory(60, 8, randomStream(5));
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

  it('refuses more neighbours than there are other rows', async () => {
    await assert.rejects(discoverAnchors(bank, { ...options, rate: 1, round: 1, neighbours: 5 }), {
      reason: 'CONFIGURATION_INVALID',
    });
  });
});
