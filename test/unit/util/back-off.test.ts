import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { BackOff } from '../../../src/util/back-off.js';

describe('BackOff', () => {
  it('doubles with every failure in a row, up to the limit, separately for each engine', () => {
    const backOff = new BackOff<string>(100, 350);
    assert.deepEqual(
      [0, 1, 2, 3].map((now) => backOff.recordFailure('onnx', now)),
      [100, 200, 350, 350],
    );
    assert.equal(backOff.recordFailure('webgpu', 0), 100);
    assert.deepEqual(
      [3, 203, 353, 999].map((now) => backOff.remainingMs('onnx', now)),
      [350, 150, 0, 0],
    );
    assert.equal(backOff.remainingMs('tensorflow', 5), 0);
  });

  it('starts with the first wait again after an engine served as long as the longest wait', () => {
    const backOff = new BackOff<string>(100, 350);
    backOff.recordFailure('onnx', 0);
    assert.equal(backOff.recordFailure('onnx', 1000, 349), 200);
    assert.equal(backOff.recordFailure('onnx', 2000, 350), 100);
  });
});
