import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { goldenToleranceOf, hasBfloat16Flag, inPrecision } from '../../../src/network/precision.js';

const int8 = { ranges: {}, goldenTolerance: 0.25 };

describe('precision', () => {
  it('bfloat16 is available on processors with a flag of AMX or AVX-512', () => {
    assert.ok(hasBfloat16Flag('flags : fpu avx512f avx512_bf16 amx_tile'));
    assert.ok(hasBfloat16Flag('flags : fpu amx_bf16'));
    assert.ok(!hasBfloat16Flag('flags : fpu avx512f avx512_vnni'));
    assert.ok(!hasBfloat16Flag('flags : fpu not_avx512_bf16'));
  });

  it('is requested from an engine in one form', () => {
    const bundle = { manifest: { int8 } };
    const forms = (['float32', 'bfloat16', 'int8'] as const).map((precision) => {
      const requested = inPrecision(bundle, precision);
      return [requested.int8, requested.bfloat16];
    });
    assert.deepEqual(forms, [
      [undefined, false],
      [undefined, true],
      [int8, false],
    ]);
  });

  it('has its own golden tolerance: for bfloat16 3 % of the spread of the golden scores', () => {
    const scores = Float32Array.of(0.5, 2.5, 1);
    const manifest = { goldenTolerance: 1e-4, int8 };
    assert.equal(goldenToleranceOf('float32', manifest, scores), 1e-4);
    assert.equal(goldenToleranceOf('int8', manifest, scores), 0.25);
    assert.ok(Math.abs(goldenToleranceOf('bfloat16', manifest, scores) - 0.06) < 1e-12);
    assert.equal(goldenToleranceOf('bfloat16', manifest, Float32Array.of(1, 1)), 1e-4);
  });
});
