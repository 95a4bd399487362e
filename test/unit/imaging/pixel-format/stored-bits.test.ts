import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { findWideSample, type WideSample } from '../../../../src/imaging/pixel-format/stored-bits.js';

type Format = Parameters<typeof findWideSample>[1];

function find(values: readonly number[], format: Format): WideSample | undefined {
  const samples =
    format.bitsAllocated === 8 ? Uint8Array.from(values) : new Uint8Array(Int16Array.from(values).buffer);
  const steps = findWideSample(samples, format);
  for (;;) {
    const { done, value } = steps.next();
    if (done) return value ?? undefined;
  }
}

describe('a sample that needs more bits than are stored', () => {
  const unsigned = { bitsAllocated: 16, bitsStored: 12, isSigned: false } as const;
  const signed = { bitsAllocated: 16, bitsStored: 12, isSigned: true } as const;

  it('is found with its place and value', () => {
    assert.deepEqual(find([0, 4095, 4096, 60_000], unsigned), { index: 2, value: 4096 });
    assert.deepEqual(find([0, -2048, 2047, -2049], signed), { index: 3, value: -2049 });
    assert.deepEqual(find([15, 16], { bitsAllocated: 8, bitsStored: 4, isSigned: false }), {
      index: 1,
      value: 16,
    });
  });

  it('is not found where all samples fit, or all bits are stored', () => {
    assert.equal(find([0, 4095], unsigned), undefined);
    assert.equal(find([-2048, -1, 2047], signed), undefined);
    assert.equal(find([0, 65_535], { ...unsigned, bitsStored: 16 }), undefined);
  });

  it('is looked for in steps', () => {
    const samples = new Uint8Array(2 * 3_000_000);
    const steps = findWideSample(samples, unsigned);
    let count = 0;
    while (!steps.next().done) count += 1;
    assert.equal(count, 3);
  });
});
