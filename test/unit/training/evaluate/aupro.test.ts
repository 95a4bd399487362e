import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { connectedRegions, PerRegionOverlap } from '../../../../src/training/evaluate/aupro.js';

const SIZE = 20;

/** A large and a small square lesion that touch only at a corner. */
const mask = Uint8Array.from({ length: SIZE * SIZE }, (_, at) => {
  const y = Math.floor(at / SIZE);
  const x = at % SIZE;
  return (y < 8 && x < 8) || (y >= 8 && y < 10 && x >= 8 && x < 10) ? 1 : 0;
});

function area(score: (at: number) => number): number {
  const overlap = new PerRegionOverlap();
  overlap.add(
    Array.from(mask, (_, at) => score(at)),
    mask,
    SIZE,
  );
  return overlap.area()!;
}

/** A different value for every pixel, in a scrambled order. */
const scrambled = (at: number): number => ((at * 7919) % 401) / 401;

describe('area under the per-region-overlap curve', () => {
  it('separates regions that touch only at a corner', () => {
    assert.deepEqual(
      connectedRegions(mask, SIZE).map((region) => region.length),
      [64, 4],
    );
  });

  it('is 1 for a map with every lesion above the rest, and 0 for the opposite map', () => {
    assert.equal(
      area((at) => mask[at]! * 10 + scrambled(at)),
      1,
    );
    assert.equal(
      area((at) => -mask[at]! * 10 + scrambled(at)),
      0,
    );
  });

  it('gives a small lesion the same weight as a large one', () => {
    const onlyLarge = area(
      (at) => (Math.floor(at / SIZE) < 8 && mask[at] ? 10 : -10 * mask[at]!) + scrambled(at),
    );
    const onlySmall = area(
      (at) => (Math.floor(at / SIZE) >= 8 && mask[at] ? 10 : -10 * mask[at]!) + scrambled(at),
    );
    assert.equal(onlyLarge, 0.5);
    assert.equal(onlySmall, 0.5);
  });

  it('is about 0.15 for a map without information', () => {
    const value = area(scrambled);
    assert.ok(value > 0.05 && value < 0.3, `${value}`);
  });

  it('counts pixels without a score as not found', () => {
    assert.equal(
      area((at) => (mask[at] ? Number.NaN : scrambled(at))),
      0,
    );
  });

  it('is null without a lesion', () => {
    const overlap = new PerRegionOverlap();
    overlap.add(new Float32Array(4), new Uint8Array(4), 2);
    assert.equal(overlap.area(), null);
  });
});
