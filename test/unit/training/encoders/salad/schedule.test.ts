import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import {
  learningRateAt,
  planEpochs,
  stepsPerEpoch,
} from '../../../../../src/training/encoders/salad/schedule.js';
import { tinyConfig } from './synthetic-tiles.js';

describe('SALAD schedule', () => {
  it('has eleven rounds of fifty epochs for the paper', () => {
    const plans = planEpochs(tinyConfig({ rate: 0.1, epochsPerRound: 50, warmupEpochs: 0 }));
    assert.equal(plans.length, 550);
    assert.equal(plans.at(-1)!.round, 10);
  });

  it('drops a last batch of fewer than eight tiles', () => {
    assert.equal(stepsPerEpoch(64 + 7, 32), 2);
    assert.equal(stepsPerEpoch(64 + 8, 32), 3);
    assert.equal(stepsPerEpoch(10, 32), 1);
  });

  it('lowers the cosine learning rate from its start to almost 0', () => {
    const config = tinyConfig({ learningRateSchedule: 'cosine', learningRate: 1e-3 });
    assert.equal(learningRateAt(config, 0, 100), 1e-3);
    assert.ok(Math.abs(learningRateAt(config, 50, 100) - 5e-4) < 1e-9);
    assert.ok(learningRateAt(config, 99, 100) < 1e-6);
  });
});
