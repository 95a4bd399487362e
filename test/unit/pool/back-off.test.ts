import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { BackOff } from '../../../src/pool/back-off.js';

describe('BackOff', () => {
  it('doubles with every failure in a row, up to the limit, for each engine alone', () => {
    const backOff = new BackOff(100, 350);
    assert.deepEqual(
      [0, 1, 2, 3].map((now) => backOff.failed('onnx', now)),
      [100, 200, 350, 350],
    );
    assert.equal(backOff.failed('webgpu', 0), 100);
    assert.deepEqual(
      [3, 203, 353, 999].map((now) => backOff.remaining('onnx', now)),
      [350, 150, 0, 0],
    );
    assert.equal(backOff.remaining('tensorflow', 5), 0);
  });

  it('begins anew after an engine that served for as long as the longest wait', () => {
    const backOff = new BackOff(100, 350);
    backOff.failed('onnx', 0);
    assert.equal(backOff.failed('onnx', 1000, 349), 200);
    assert.equal(backOff.failed('onnx', 2000, 350), 100);
  });
});
