import assert from 'node:assert/strict';
import fc from 'fast-check';
import { describe, it } from 'mocha';
import { InferTensorContents } from '../../../src/gen/inference/grpc_service.js';
import { type NumberType, typedBytes, typedElements } from '../../../src/oip/typed-contents.js';

const RANGES = {
  UINT8: ['uintContents', 0, 255],
  UINT16: ['uintContents', 0, 65_535],
  INT16: ['intContents', -32_768, 32_767],
  INT32: ['intContents', -(2 ** 31), 2 ** 31 - 1],
} as const;

function decoded<T extends NumberType>(bytes: Uint8Array, type: T, count: number): number[] {
  const steps = typedElements(bytes, type, 'image', count);
  for (;;) {
    const step = steps.next();
    if (step.done === true) return [...step.value];
  }
}

const encode = (contents: Partial<InferTensorContents>) =>
  InferTensorContents.encode(InferTensorContents.fromPartial(contents)).finish();

describe('typedElements', () => {
  for (const [type, [field, min, max]] of Object.entries(RANGES)) {
    it(`reads what a protobuf encoder writes: ${type}`, () => {
      const values = fc.array(fc.integer({ min, max }), { minLength: 1, maxLength: 50 });
      fc.assert(
        // In several parts, as an encoder may write a repeated field.
        fc.property(fc.array(values, { minLength: 1, maxLength: 4 }), (parts) => {
          const bytes = Buffer.concat(parts.map((part) => encode({ [field]: part })));
          const all = parts.flat();
          assert.deepEqual(decoded(bytes, type as NumberType, all.length), all);
        }),
      );
    });
  }

  it('reads what a protobuf encoder writes: FP32', () => {
    fc.assert(
      fc.property(fc.array(fc.float(), { minLength: 1 }), (values) => {
        assert.deepEqual(decoded(encode({ fp32Contents: values }), 'FP32', values.length), values);
      }),
    );
  });

  it('reads elements that are not packed', () => {
    assert.deepEqual(decoded(Uint8Array.of(0x20, 1, 0x20, 0xac, 0x02), 'UINT16', 2), [1, 300]);
    assert.deepEqual(decoded(Uint8Array.of(0x35, 0, 0, 0x80, 0x3f), 'FP32', 1), [1]);
  });

  it('either gives as many elements as the shape has or throws an error of the request', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 60 }), fc.integer({ min: 1, max: 20 }), (bytes, count) => {
        for (const type of ['UINT8', 'INT16', 'FP32'] as const) {
          try {
            assert.equal(decoded(bytes, type, count).length, count);
          } catch (error) {
            assert.equal((error as { kind?: string }).kind, 'invalidArgument', String(error));
          }
        }
      }),
      { numRuns: 1000 },
    );
  });

  it('makes no array for a tensor that the message cannot hold', () => {
    assert.throws(() => decoded(encode({ uintContents: [1] }), 'UINT8', 2 ** 40), {
      reason: 'SAMPLE_COUNT_MISMATCH',
    });
  });
});

describe('typedBytes', () => {
  it('reads what a protobuf encoder writes', () => {
    fc.assert(
      fc.property(fc.array(fc.uint8Array(), { minLength: 1 }), (elements) => {
        const read = typedBytes(encode({ bytesContents: elements }), 'image', elements.length);
        assert.deepEqual(
          read.map((element) => [...element]),
          elements.map((element) => [...element]),
        );
      }),
    );
  });
});
