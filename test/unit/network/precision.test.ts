import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import {
  goldenToleranceOf,
  hasBfloat16Flag,
  inPrecision,
  supportedPrecision,
} from '../../../src/network/precision.js';

describe('precision', () => {
  it('bfloat16 is available on processors with a flag of AMX or AVX-512', () => {
    assert.ok(hasBfloat16Flag('flags : fpu avx512f avx512_bf16 amx_tile'));
    assert.ok(hasBfloat16Flag('flags : fpu amx_bf16'));
    assert.ok(!hasBfloat16Flag('flags : fpu avx512f avx512_vnni'));
    assert.ok(!hasBfloat16Flag('flags : fpu not_avx512_bf16'));
  });

  it('is requested from an engine in one form', () => {
    assert.equal(inPrecision({}, 'float32').bfloat16, false);
    assert.equal(inPrecision({}, 'bfloat16').bfloat16, true);
  });

  it('int8, which older versions had, is refused with the reason', () => {
    assert.equal(supportedPrecision('bfloat16'), 'bfloat16');
    assert.throws(() => supportedPrecision('int8'), {
      reason: 'CONFIGURATION_INVALID',
      message: /was removed/,
    });
  });

  it('has its own golden tolerance: for bfloat16 3 % of the spread of the golden scores', () => {
    const scores = Float32Array.of(0.5, 2.5, 1);
    assert.equal(goldenToleranceOf('float32', 1e-4, scores), 1e-4);
    assert.ok(Math.abs(goldenToleranceOf('bfloat16', 1e-4, scores) - 0.06) < 1e-12);
    assert.equal(goldenToleranceOf('bfloat16', 1e-4, Float32Array.of(1, 1)), 1e-4);
  });
});
