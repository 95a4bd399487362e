import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import * as fc from 'fast-check';
import { describe, it } from 'mocha';
import {
  createMemory,
  gatherRows,
  type TrainingMemory,
  updateMemory,
} from '../../../../../src/training/encoders/salad/memory.js';
import { randomStream } from '../../../../../src/training/encoders/salad/random-streams.js';

const oracles = JSON.parse(
  readFileSync(new URL('../../../../oracles/salad-oracles.json', import.meta.url), 'utf8'),
);
const norm = (row: Float32Array): number => Math.hypot(...row);

describe('SALAD memory', () => {
  it('updates rows as in salad-oracles.json', () => {
    for (const { m, z, mu, out } of oracles.memory) {
      const memory: TrainingMemory = { rows: 1, dimension: 2, values: Float32Array.from(m) };
      updateMemory(memory, [0], Float32Array.from(z), mu);
      const expected = typeof out === 'string' ? m : out;
      memory.values.forEach((value, d) => {
        assert.ok(Math.abs(value - expected[d]) < 1e-6, `${value} is not ${expected[d]}`);
      });
    }
  });

  it('keeps updated rows at unit length and all others bit-identical', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 1e6 }), fc.integer({ min: 2, max: 20 }), (seed, rows) => {
        const memory = createMemory(rows, 6, randomStream(seed));
        const before = memory.values.slice();
        const z = createMemory(1, 6, randomStream(seed, 1)).values;
        updateMemory(memory, [rows - 1], z, 0.5);
        assert.deepEqual(memory.values.subarray(0, (rows - 1) * 6), before.subarray(0, (rows - 1) * 6));
        assert.ok(Math.abs(norm(gatherRows(memory, [rows - 1])) - 1) < 1e-6);
      }),
      { numRuns: 50 },
    );
  });

  it('starts with rows of length about one', () => {
    const memory = createMemory(400, 128, randomStream(3));
    const lengths = Array.from({ length: 400 }, (_, r) => norm(gatherRows(memory, [r])));
    assert.ok(Math.abs(lengths.reduce((a, b) => a + b, 0) / 400 - 1) < 0.01);
    assert.ok(memory.values.every((value) => Math.abs(value) <= Math.sqrt(3 / 128)));
  });
});
