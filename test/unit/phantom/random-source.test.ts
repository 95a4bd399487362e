import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { createRandomSource, NoiseField } from '../../../src/phantom/random-source.js';

describe('createRandomSource', () => {
  it('gives the same numbers for the same seed and stream, and others otherwise', () => {
    const draw = (seed: number, stream: string): number[] => {
      const random = createRandomSource(seed, stream);
      return Array.from({ length: 8 }, () => random.next());
    };
    assert.deepEqual(draw(1, 'a'), draw(1, 'a'));
    assert.notDeepEqual(draw(1, 'a'), draw(2, 'a'));
    assert.notDeepEqual(draw(1, 'a'), draw(1, 'b'));
  });

  it('is uniform and normal to sampling error', () => {
    const random = createRandomSource(3, 'moments');
    const count = 20_000;
    const uniform = Array.from({ length: count }, () => random.next());
    const normal = Array.from({ length: count }, () => random.normal());
    const moment = (values: number[], power: number): number =>
      values.reduce((sum, value) => sum + value ** power, 0) / count;
    assert.ok(uniform.every((value) => value >= 0 && value < 1));
    assert.ok(Math.abs(moment(uniform, 1) - 0.5) < 0.01);
    assert.ok(Math.abs(moment(uniform, 2) - 1 / 3) < 0.01);
    assert.ok(Math.abs(moment(normal, 1)) < 0.03);
    assert.ok(Math.abs(moment(normal, 2) - 1) < 0.05);
    assert.ok(Math.abs(moment(normal, 4) - 3) < 0.3);
  });

  it('gives every integer of a range, including its ends', () => {
    const random = createRandomSource(4, 'integers');
    const seen = new Set(Array.from({ length: 200 }, () => random.integer(2, 5)));
    assert.deepEqual([...seen].sort(), [2, 3, 4, 5]);
  });
});

describe('NoiseField', () => {
  it('is bounded and changes smoothly between neighbouring pixels', () => {
    const field = new NoiseField(createRandomSource(5, 'field'), 100, 5);
    for (let i = 0; i < 99; i++) {
      const value = field.at(i, 99 - i);
      assert.ok(Math.abs(value) <= 1);
      // Two lattice values differ by at most 2 over 20 pixels; smooth interpolation makes the slope 1.5 times as steep.
      assert.ok(Math.abs(field.at(i + 1, 99 - i) - value) <= (2 / 20) * 1.5 + 1e-9);
    }
  });
});
