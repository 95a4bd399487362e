/** Decodes the request of ModelInfer and ModelStreamInfer. */
import type { BinaryReader } from '@bufbuild/protobuf/wire';
import { SaladError } from '../errors/index.js';
import {
  type InferParameter,
  ModelInferRequest_InferInputTensor_ParametersEntry as InputParameter,
  ModelInferRequest_InferRequestedOutputTensor as RequestedOutput,
  ModelInferRequest_ParametersEntry as RequestParameter,
} from '../gen/inference/grpc_service.js';

export type Parameters = Readonly<Record<string, InferParameter>>;

export interface InferInput {
  readonly name: string;
  readonly datatype: string;
  readonly shape: readonly number[];
  readonly parameters: Parameters;
  /** An encoded InferTensorContents; undefined where the elements are in `rawInputContents`. */
  readonly contents: Uint8Array | undefined;
}

/** A ModelInferRequest. Bytes are views into the message. */
export interface InferRequest {
  readonly modelName: string;
  readonly modelVersion: string;
  readonly id: string;
  readonly parameters: Parameters;
  readonly inputs: readonly InferInput[];
  readonly outputs: readonly RequestedOutput[];
  readonly rawInputContents: readonly Uint8Array[];
}

type Building<T> = { -readonly [Key in keyof T]: T[Key] };

/** More than any tensor of any model has. */
const DIMENSIONS_MAX = 8;

/**
 * Decodes everything but the elements of tensors: generated code would make a number object, of eight bytes or more, of
 * every byte of `uint_contents` before anything is known of the model. See `typed-contents.ts`.
 * @throws SaladError MESSAGE_INVALID, and what the reader throws
 */
export function decodeInferRequest(reader: BinaryReader): InferRequest {
  const parameters: Record<string, InferParameter> = {};
  const inputs: InferInput[] = [];
  const outputs: RequestedOutput[] = [];
  const rawInputContents: Uint8Array[] = [];
  const request: Building<InferRequest> = {
    ...{ modelName: '', modelVersion: '', id: '' },
    ...{ parameters, inputs, outputs, rawInputContents },
  };
  eachField(reader, reader.len, {
    10: () => {
      request.modelName = reader.string();
    },
    18: () => {
      request.modelVersion = reader.string();
    },
    26: () => {
      request.id = reader.string();
    },
    34: () => addEntry(parameters, RequestParameter.decode(reader, reader.uint32())),
    42: () => inputs.push(decodeInput(reader, reader.uint32())),
    50: () => outputs.push(RequestedOutput.decode(reader, reader.uint32())),
    58: () => rawInputContents.push(reader.bytes()),
  });
  return request;
}

function decodeInput(reader: BinaryReader, length: number): InferInput {
  const parameters: Record<string, InferParameter> = {};
  const shape: number[] = [];
  const input: Building<InferInput> = { name: '', datatype: '', shape, parameters, contents: undefined };
  const addDimension = () => {
    if (shape.length === DIMENSIONS_MAX) {
      throw new SaladError('MESSAGE_INVALID', `a tensor has more than ${DIMENSIONS_MAX} dimensions`);
    }
    shape.push(Number(reader.int64()));
  };
  eachField(reader, reader.pos + length, {
    10: () => {
      input.name = reader.string();
    },
    18: () => {
      input.datatype = reader.string();
    },
    24: addDimension,
    26: () => {
      const end = reader.uint32() + reader.pos;
      while (reader.pos < end) addDimension();
    },
    34: () => addEntry(parameters, InputParameter.decode(reader, reader.uint32())),
    42: () => {
      const bytes = reader.bytes();
      // Parts of one message that come apart are joined, as every protobuf decoder does.
      input.contents = input.contents === undefined ? bytes : Buffer.concat([input.contents, bytes]);
    },
  });
  return input;
}

/** Calls the function of each field's tag (number × 8 + wire type), and skips the fields that have none. */
function eachField(reader: BinaryReader, end: number, fields: Readonly<Record<number, () => unknown>>): void {
  while (reader.pos < end) {
    const tag = reader.uint32();
    const read = fields[tag];
    if (read === undefined) reader.skip(tag & 7);
    else read();
  }
  if (reader.pos !== end) throw new SaladError('MESSAGE_INVALID', 'a field ends behind its message');
}

function addEntry(
  parameters: Record<string, InferParameter>,
  { key, value }: { readonly key: string; readonly value: InferParameter | undefined },
): void {
  // Not an assignment: `__proto__` is a name like any other.
  const parameter = value ?? { parameterChoice: undefined };
  Object.defineProperty(parameters, key, {
    value: parameter,
    ...{ enumerable: true, configurable: true, writable: true },
  });
}
