import assert from 'node:assert/strict';
import * as fc from 'fast-check';
import { describe, it } from 'mocha';
import { augmentTile } from '../../../../../src/training/encoders/salad/augment.js';
import { randomStream } from '../../../../../src/training/encoders/salad/random-streams.js';
import { texture } from './synthetic-tiles.js';

const UNCHANGED = { flip: 0, shift: 0, gain: 0, offset: 0, gamma: 0, blur: 0, noise: 0 };
function augmented(tile: Uint8Array, config: typeof UNCHANGED, seed = 1): Float32Array {
  const out = new Float32Array(tile.length);
  augmentTile(tile, Math.sqrt(tile.length), config, randomStream(seed), out);
  return out;
}

describe('SALAD augmentation', () => {
  const tile = texture(0, 8, 3);

  it('changes nothing where every strength is zero', () => {
    assert.deepEqual(augmented(tile, UNCHANGED), Float32Array.from(tile));
  });

  it('exchanges left and right with flip 1', () => {
    const flipped = augmented(tile, { ...UNCHANGED, flip: 1 });
    for (let i = 0; i < 64; i++) assert.equal(flipped[i], tile[Math.floor(i / 8) * 8 + 7 - (i % 8)]);
  });

  it('shifts by whole pixels up to the bound and reflects the border', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 1e6 }), (seed) => {
        const ramp = Uint8Array.from({ length: 64 }, (_, i) => 10 * (i % 8));
        const shifted = augmented(ramp, { ...UNCHANGED, shift: 2 }, seed);
        const dx = [-2, -1, 0, 1, 2].filter((d) => shifted[3] === 10 * (3 + d));
        assert.equal(dx.length, 1);
        assert.equal(shifted[7], 10 * (7 + dx[0]! <= 7 ? 7 + dx[0]! : 7 - dx[0]!));
      }),
      { numRuns: 50 },
    );
  });

  it('stays within 0..255 and depends only on the random stream', () => {
    const strong = { flip: 0.5, shift: 3, gain: 1, offset: 1, gamma: 1, blur: 0.5, noise: 0.5 };
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 1e6 }), (seed) => {
        const view = augmented(tile, strong, seed);
        assert.ok(view.every((value) => value >= 0 && value <= 255));
        assert.deepEqual(augmented(tile, strong, seed), view);
      }),
      { numRuns: 50 },
    );
  });

  it('blurs without changing the mean', () => {
    const dot = new Uint8Array(64);
    dot[27] = 160;
    const blurred = augmented(dot, { ...UNCHANGED, blur: 1 });
    assert.equal(blurred[27], 40);
    assert.equal(blurred[26], 20);
    assert.equal(blurred[18], 10);
    assert.equal(
      Array.from(blurred).reduce((a, b) => a + b, 0),
      160,
    );
  });
});
