import assert from 'node:assert/strict';
import { BinaryReader } from '@bufbuild/protobuf/wire';
import { describe, it } from 'mocha';
import { InferTensorContents, ModelInferRequest } from '../../../src/gen/inference/grpc_service.js';
import { decodeInferRequest } from '../../../src/oip/infer-request.js';

const text = (value: string) => ({ parameterChoice: { $case: 'stringParam' as const, value } });
const whole = ModelInferRequest.fromPartial({
  ...{ modelName: 'phantom', modelVersion: '1', id: 'study-17' },
  parameters: { window_function: text('LINEAR'), __proto__x: text('a name like any other') },
  inputs: [
    {
      ...{
        name: 'image',
        datatype: 'UINT8',
        shape: [1n, 2n, 3n, 1n],
        parameters: { content_type: text('np') },
      },
      contents: { uintContents: [1, 2, 3] },
    },
    { name: 'position', datatype: 'INT32', shape: [-1n] },
  ],
  outputs: [{ name: 'decision', parameters: { classification: text('2') } }],
  rawInputContents: [Uint8Array.of(1, 2), Uint8Array.of()],
});
const bytes = ModelInferRequest.encode(whole).finish();

describe('decodeInferRequest', () => {
  it('reads what generated code writes, but leaves the contents encoded', () => {
    const { inputs, rawInputContents, ...rest } = decodeInferRequest(new BinaryReader(bytes));
    const { inputs: _inputs, rawInputContents: _raw, ...expected } = whole;
    assert.deepEqual(rest, expected);
    assert.deepEqual(
      inputs.map(({ name, datatype, shape }) => ({ name, datatype, shape })),
      [
        { name: 'image', datatype: 'UINT8', shape: [1, 2, 3, 1] },
        { name: 'position', datatype: 'INT32', shape: [-1] },
      ],
    );
    assert.deepEqual(inputs[0]?.parameters, whole.inputs[0]?.parameters);
    assert.deepEqual(
      InferTensorContents.decode(inputs[0]?.contents ?? new Uint8Array()).uintContents,
      [1, 2, 3],
    );
    assert.equal(inputs[1]?.contents, undefined);
    assert.deepEqual(
      rawInputContents.map((each) => [...each]),
      [[1, 2], []],
    );
  });

  it('passes over fields that it does not know', () => {
    const unknown = Uint8Array.of(0xfa, 0x07, 2, 9, 9);
    assert.equal(decodeInferRequest(new BinaryReader(Buffer.concat([unknown, bytes]))).id, 'study-17');
  });

  it('takes `__proto__` for a name like any other', () => {
    const named = ModelInferRequest.encode(
      ModelInferRequest.fromPartial({ parameters: Object.fromEntries([['placeholder', text('x')]]) }),
    ).finish();
    const hostile = Buffer.from(
      Buffer.from(named).toString('latin1').replace('placeholder', '__proto__xx'),
      'latin1',
    );
    assert.deepEqual(Object.keys(decodeInferRequest(new BinaryReader(hostile)).parameters), ['__proto__xx']);
  });

  it('refuses a message that is cut anywhere', () => {
    // A cut between two fields leaves a shorter message that is complete.
    let refused = 0;
    for (let length = 1; length < bytes.length; length++) {
      try {
        decodeInferRequest(new BinaryReader(bytes.subarray(0, length)));
      } catch {
        refused += 1;
      }
    }
    assert.ok(refused > bytes.length - 20, `${refused} of ${bytes.length}`);
  });
});
