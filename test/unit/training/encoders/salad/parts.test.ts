import assert from 'node:assert/strict';
import '@tensorflow/tfjs-backend-cpu';
import * as tf from '@tensorflow/tfjs-core';
import * as fc from 'fast-check';
import { before, describe, it } from 'mocha';
import { Adam } from '../../../../../src/training/encoders/salad/adam.js';
import { augmentTile } from '../../../../../src/training/encoders/salad/augment.js';
import { randomStream } from '../../../../../src/training/encoders/salad/random-streams.js';
import {
  epochPlans,
  learningRateAt,
  stepsPerEpoch,
} from '../../../../../src/training/encoders/salad/schedule.js';
import { slotTable } from '../../../../../src/training/encoders/salad/tiles.js';
import { syntheticTiles, texture, tinyConfig } from './synthetic-tiles.js';

const still = { flip: 0, shift: 0, gain: 0, offset: 0, gamma: 0, blur: 0, noise: 0 };
function augmented(tile: Uint8Array, config: typeof still, seed = 1): Float32Array {
  const out = new Float32Array(tile.length);
  augmentTile(tile, Math.sqrt(tile.length), config, randomStream(seed), out);
  return out;
}

describe('SALAD augmentation', () => {
  const tile = texture(0, 8, 3);

  it('changes nothing when every strength is zero', () => {
    assert.deepEqual(augmented(tile, still), Float32Array.from(tile));
  });

  it('mirrors left and right with flip 1', () => {
    const flipped = augmented(tile, { ...still, flip: 1 });
    for (let i = 0; i < 64; i++) assert.equal(flipped[i], tile[Math.floor(i / 8) * 8 + 7 - (i % 8)]);
  });

  it('shifts by whole pixels within the bound and reflects the border', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 1e6 }), (seed) => {
        const ramp = Uint8Array.from({ length: 64 }, (_, i) => 10 * (i % 8));
        const shifted = augmented(ramp, { ...still, shift: 2 }, seed);
        const dx = [-2, -1, 0, 1, 2].filter((d) => shifted[3] === 10 * (3 + d));
        assert.equal(dx.length, 1);
        assert.equal(shifted[7], 10 * (7 + dx[0]! <= 7 ? 7 + dx[0]! : 7 - dx[0]!));
      }),
      { numRuns: 50 },
    );
  });

  it('stays within 0..255 and is a function of the stream alone', () => {
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

  it('keeps the mean and lowers the contrast when it blurs', () => {
    const dot = new Uint8Array(64);
    dot[27] = 160;
    const blurred = augmented(dot, { ...still, blur: 1 });
    assert.equal(blurred[27], 40);
    assert.equal(blurred[26], 20);
    assert.equal(blurred[18], 10);
    assert.equal(
      Array.from(blurred).reduce((a, b) => a + b, 0),
      160,
    );
  });
});

describe('SALAD slots', () => {
  const tiles = syntheticTiles(3, 4, 16, 1);

  it('finds the overlapping tiles of the same image only', () => {
    const slots = slotTable(tiles, tinyConfig(), 1);
    assert.deepEqual([...slots.overlapping(16)], [17, 20, 21]);
    assert.equal(slots.overlapping(21).length, 8);
    assert.deepEqual(slotTable(tiles, tinyConfig({ level: 'image' }), 1).overlapping(21), []);
  });

  it('keeps tiles of one patient from being neighbours', () => {
    const slots = slotTable(
      { ...tiles, patientOf: tiles.imageOf.length ? Array.from(tiles.imageOf, (i) => i >> 1) : [] },
      tinyConfig(),
      1,
    );
    assert.equal(slots.mayBeNeighbours(0, 31), false);
    assert.equal(slots.mayBeNeighbours(0, 32), true);
  });

  it('draws the same distinct subset of every image for a seed', () => {
    const subset = slotTable(tiles, tinyConfig({ tilesPerImage: 5 }), 7);
    assert.equal(subset.count, 15);
    assert.equal(new Set(subset.tileOf).size, 15);
    for (let image = 0; image < 3; image++) {
      assert.equal(subset.tileOf.filter((tile) => tiles.imageOf[tile] === image).length, 5);
    }
    assert.deepEqual(slotTable(tiles, tinyConfig({ tilesPerImage: 5 }), 7).tileOf, subset.tileOf);
    assert.notDeepEqual(slotTable(tiles, tinyConfig({ tilesPerImage: 5 }), 8).tileOf, subset.tileOf);
  });
});

describe('SALAD schedule', () => {
  it('is eleven rounds of fifty epochs for the paper', () => {
    const plans = epochPlans(tinyConfig({ rate: 0.1, epochsPerRound: 50, warmupEpochs: 0 }));
    assert.equal(plans.length, 550);
    assert.equal(plans.at(-1)!.round, 10);
  });

  it('drops a last batch of fewer than eight', () => {
    assert.equal(stepsPerEpoch(64 + 7, 32), 2);
    assert.equal(stepsPerEpoch(64 + 8, 32), 3);
    assert.equal(stepsPerEpoch(10, 32), 1);
  });

  it('lets the cosine rate fall from its start to almost nothing', () => {
    const config = tinyConfig({ learningRateSchedule: 'cosine', learningRate: 1e-3 });
    assert.equal(learningRateAt(config, 0, 100), 1e-3);
    assert.ok(Math.abs(learningRateAt(config, 50, 100) - 5e-4) < 1e-9);
    assert.ok(learningRateAt(config, 99, 100) < 1e-6);
  });
});

describe('Adam', () => {
  before(async () => {
    await tf.setBackend('cpu');
  });

  it("takes PyTorch's steps, weight decay inside the gradient", () => {
    const options = { weightDecay: 0.1 };
    const adam = new Adam(options);
    let value: tf.Tensor = tf.tensor1d([1, -2]);
    const host = { p: [1, -2], m: [0, 0], v: [0, 0] };
    for (let t = 1; t <= 5; t++) {
      const gradient = [0.3 * t, -0.2 / t];
      adam.beginStep();
      value = adam.update('w', value, tf.tensor1d(gradient), 0.01);
      for (const i of [0, 1]) {
        const g = gradient[i]! + 0.1 * host.p[i]!;
        host.m[i] = 0.9 * host.m[i]! + 0.1 * g;
        host.v[i] = 0.999 * host.v[i]! + 0.001 * g * g;
        const mHat = host.m[i]! / (1 - 0.9 ** t);
        const vHat = host.v[i]! / (1 - 0.999 ** t);
        host.p[i]! -= (0.01 * mHat) / (Math.sqrt(vHat) + 1e-8);
      }
    }
    value.dataSync().forEach((found, i) => {
      assert.ok(Math.abs(found - host.p[i]!) < 1e-6, `${found} is not ${host.p[i]}`);
    });
  });
});
