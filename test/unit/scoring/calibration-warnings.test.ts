import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { calibrationWarnings, imageCountWarnings } from '../../../src/scoring/calibration-warnings.js';

describe('warnings about a small calibration set', () => {
  it('warn below 100 normals, and below 19 name the rate that a server decides at', () => {
    assert.deepEqual(imageCountWarnings(100), []);
    const [few, ...none] = imageCountWarnings(99);
    assert.match(few!, /99 normal images, fewer than 100.* none below 1 % can be guaranteed/);
    assert.deepEqual(none, []);
    assert.equal(imageCountWarnings(19).length, 1);
    const [, rate] = imageCountWarnings(4);
    assert.match(rate!, /5 % needs 19 calibration normals: a server decides at 20 %/);
  });

  it('use the size of the smallest stratum', () => {
    const imageScores = Array.from({ length: 200 }, (_, index) => index);
    const strata = [{ imageScores: imageScores.slice(0, 10) }, { imageScores }];
    const [rate] = calibrationWarnings({ imageScores, strata });
    assert.match(rate!, /decides at 9.1 %/);
  });
});
