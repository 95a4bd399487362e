import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { describe, it } from 'mocha';
import { goldenToleranceOf, hasBfloat16, inPrecision } from '../../../src/network/precision.js';

const int8 = { ranges: {}, goldenTolerance: 0.25 };

describe('precision', () => {
  it('bfloat16 is multiplied by processors that say so', () => {
    const flags = existsSync('/proc/cpuinfo') ? readFileSync('/proc/cpuinfo', 'utf8').split(/\s+/) : [];
    assert.equal(hasBfloat16(), flags.includes('amx_bf16') || flags.includes('avx512_bf16'));
  });

  it('a bundle is given to an engine in one form', () => {
    const bundle = { manifest: { int8 } };
    const forms = (['float32', 'bfloat16', 'int8'] as const).map((precision) => {
      const given = inPrecision(bundle, precision);
      return [given.int8, given.bfloat16];
    });
    assert.deepEqual(forms, [
      [undefined, false],
      [undefined, true],
      [int8, false],
    ]);
  });

  it('each has a golden tolerance: bfloat16 3 % of the spread of the golden scores', () => {
    const scores = Float32Array.of(0.5, 2.5, 1);
    const manifest = { goldenTolerance: 1e-4, int8 };
    assert.equal(goldenToleranceOf('float32', manifest, scores), 1e-4);
    assert.equal(goldenToleranceOf('int8', manifest, scores), 0.25);
    assert.ok(Math.abs(goldenToleranceOf('bfloat16', manifest, scores) - 0.06) < 1e-12);
    assert.equal(goldenToleranceOf('bfloat16', manifest, Float32Array.of(1, 1)), 1e-4);
  });
});
