import assert from 'node:assert/strict';
import fc from 'fast-check';
import { describe, it } from 'mocha';
import { decodeSafetensors, encodeSafetensors, type StoredTensor } from '../../../src/bundle/safetensors.js';
import { float16ToFloat32, float32ToFloat16, roundToFloat16 } from '../../../src/network/float16.js';

const tensors = new Map<string, StoredTensor>([
  ['bytes', { dtype: 'U8', shape: [3], data: Uint8Array.of(1, 2, 255) }],
  ['halves', { dtype: 'F16', shape: [3], data: Float32Array.of(0.5, -2, 65504) }],
  ['floats', { dtype: 'F32', shape: [2, 1], data: Float32Array.of(Math.PI, -0) }],
  ['numbers', { dtype: 'I32', shape: [1], data: Int32Array.of(-7) }],
]);

describe('safetensors', () => {
  it('are read as they were written', () => {
    const read = decodeSafetensors(encodeSafetensors(tensors), 'test');
    assert.deepEqual(new Map([...read].sort()), new Map([...tensors].sort()));
  });

  it('start every tensor at a multiple of its element size', () => {
    const bytes = encodeSafetensors(tensors);
    const length = Number(new DataView(bytes.buffer).getBigUint64(0, true));
    assert.equal(length % 8, 0);
    const header = JSON.parse(new TextDecoder().decode(bytes.subarray(8, 8 + length))) as Record<
      string,
      { dtype: string; data_offsets: [number, number] }
    >;
    const size: Record<string, number> = { F32: 4, I32: 4, F16: 2, U8: 1 };
    for (const { dtype, data_offsets: offsets } of Object.values(header)) {
      assert.equal(offsets[0] % size[dtype]!, 0);
    }
  });

  it('are read from a file of another library, with metadata', () => {
    const json = '{"__metadata__":{"format":"pt"},"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}} ';
    const header = new TextEncoder().encode(json);
    const bytes = new Uint8Array(8 + header.length + 4);
    new DataView(bytes.buffer).setBigUint64(0, BigInt(header.length), true);
    bytes.set(header, 8);
    new DataView(bytes.buffer).setFloat32(8 + header.length, 1.5, true);
    assert.deepEqual(
      [...decodeSafetensors(bytes, 'test')],
      [['a', { dtype: 'F32', shape: [1], data: Float32Array.of(1.5) }]],
    );
  });

  it('are refused with BUNDLE_INVALID, and no other error, where the file is broken', () => {
    const good = encodeSafetensors(tensors);
    fc.assert(
      fc.property(
        fc.nat(good.length - 1),
        fc.integer({ min: 1, max: 255 }),
        fc.nat(good.length),
        (at, flip, cut) => {
          const bytes = good.slice(0, cut);
          if (at < cut) bytes[at]! ^= flip;
          try {
            decodeSafetensors(bytes, 'test');
          } catch (error) {
            assert.equal((error as { reason?: string }).reason, 'BUNDLE_INVALID');
          }
        },
      ),
      { seed: 3, numRuns: 500 },
    );
    assert.throws(() => decodeSafetensors(good.slice(0, 5), 'test'), { reason: 'BUNDLE_INVALID' });
    assert.throws(() => decodeSafetensors(good.slice(0, -1), 'test'), /do not fit/);
  });
});

describe('half precision', () => {
  it('has the published bit patterns', () => {
    const patterns: [number, number][] = [
      [0, 0x0000],
      [-0, 0x8000],
      [1, 0x3c00],
      [-2, 0xc000],
      [65504, 0x7bff],
      [65520, 0x7c00],
      [Number.NEGATIVE_INFINITY, 0xfc00],
      [2 ** -14, 0x0400],
      [2 ** -24, 0x0001],
      [2 ** -25, 0x0000],
      [1 / 3, 0x3555],
      // Halfway between two halves: to the even one.
      [1 + 2 ** -11, 0x3c00],
      [1 + 3 * 2 ** -11, 0x3c02],
    ];
    for (const [value, bits] of patterns) assert.equal(float32ToFloat16(value), bits, String(value));
    assert.ok(Number.isNaN(float16ToFloat32(float32ToFloat16(Number.NaN))));
  });

  it('returns each of its finite values unchanged', () => {
    for (let half = 0; half < 0x10000; half++) {
      const value = float16ToFloat32(half);
      if (!Number.isNaN(value)) assert.equal(float32ToFloat16(value), half);
    }
  });

  it('differs by at most half a step', () => {
    fc.assert(
      fc.property(fc.float({ min: -1, max: 1, noNaN: true }), (value) => {
        const error = Math.abs(roundToFloat16(Float32Array.of(value))[0]! - value);
        assert.ok(error <= Math.max(Math.abs(value) * 2 ** -11, 2 ** -25));
      }),
      { seed: 4 },
    );
  });
});
