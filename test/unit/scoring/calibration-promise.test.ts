import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { calibrationWarnings, promiseWarnings } from '../../../src/scoring/calibration-promise.js';

describe('what a calibration cannot promise', () => {
  it('is said of fewer than 100 normals, and of fewer than 19 what a server decides at', () => {
    assert.deepEqual(calibrationWarnings(100), []);
    const [few, ...none] = calibrationWarnings(99);
    assert.match(few!, /99 normal images, fewer than 100.* none below 1 % can be promised/);
    assert.deepEqual(none, []);
    assert.equal(calibrationWarnings(19).length, 1);
    const [, rate] = calibrationWarnings(4);
    assert.match(rate!, /5 % needs 19 calibration normals: a server decides at 20 %/);
  });

  it('goes by the smallest part of the normals where thresholds hold in each', () => {
    const imageScores = Array.from({ length: 200 }, (_, index) => index);
    const strata = [{ imageScores: imageScores.slice(0, 10) }, { imageScores }];
    const [rate] = promiseWarnings({ imageScores, strata });
    assert.match(rate!, /decides at 9.1 %/);
  });
});
