/** A client of the Open Inference Protocol with the generated stubs, for tests through the port. */
import { type CallOptions, credentials, Metadata } from '@grpc/grpc-js';
import {
  GRPCInferenceServiceClient,
  type InferParameter,
  ModelInferRequest,
  type ModelInferResponse,
} from '../../../src/gen/inference/grpc_service.js';

export type Value = number | string | boolean | bigint;

export interface InputOptions {
  readonly name?: string;
  readonly datatype: string;
  readonly shape: readonly number[];
  readonly data: Uint8Array;
}

export interface InferOptions {
  readonly model: string;
  readonly version?: string;
  readonly id?: string;
  readonly inputs: readonly InputOptions[];
  readonly outputs?: readonly (string | { readonly name: string; readonly classification: number })[];
  readonly parameters?: Readonly<Record<string, Value>>;
}

export function connectInference(address: string): GRPCInferenceServiceClient {
  return new GRPCInferenceServiceClient(address, credentials.createInsecure(), {
    'grpc.max_receive_message_length': -1,
    'grpc.max_send_message_length': -1,
    'grpc.use_local_subchannel_pool': 1,
  });
}

export function parameter(value: Value): InferParameter {
  switch (typeof value) {
    case 'number':
      return { parameterChoice: { $case: 'doubleParam', value } };
    case 'bigint':
      return { parameterChoice: { $case: 'int64Param', value } };
    case 'boolean':
      return { parameterChoice: { $case: 'boolParam', value } };
    case 'string':
      return { parameterChoice: { $case: 'stringParam', value } };
  }
}

export function inferRequest(options: InferOptions): ModelInferRequest {
  const { model, version = '', id = '', inputs, outputs = [], parameters = {} } = options;
  const entries = Object.entries(parameters).map(([name, value]) => [name, parameter(value)]);
  return ModelInferRequest.fromPartial({
    ...{ modelName: model, modelVersion: version, id },
    parameters: Object.fromEntries(entries) as Record<string, InferParameter>,
    inputs: inputs.map(({ name = 'image', datatype, shape }) => ({
      ...{ name, datatype, shape: shape.map(BigInt) },
    })),
    outputs: outputs.map((output) =>
      typeof output === 'string'
        ? { name: output }
        : { name: output.name, parameters: { classification: parameter(BigInt(output.classification)) } },
    ),
    rawInputContents: inputs.map(({ data }) => data),
  });
}

/** Calls a unary method. @throws ServiceError */
export function call<Request, Response>(
  client: GRPCInferenceServiceClient,
  method: (
    this: GRPCInferenceServiceClient,
    request: Request,
    metadata: Metadata,
    options: Partial<CallOptions>,
    callback: (error: Error | null, response: Response) => void,
  ) => unknown,
  request: Request,
  options: Partial<CallOptions> = {},
): Promise<Response> {
  return new Promise((resolve, reject) => {
    method.call(client, request, new Metadata(), options, (error, response) => {
      if (error) reject(error);
      else resolve(response);
    });
  });
}

export function infer(
  client: GRPCInferenceServiceClient,
  options: InferOptions | ModelInferRequest,
  callOptions: Partial<CallOptions> = {},
): Promise<ModelInferResponse> {
  const request = 'modelName' in options ? options : inferRequest(options);
  return call(client, client.modelInfer, request, callOptions);
}

const ARRAYS = { FP32: Float32Array, FP64: Float64Array, INT32: Int32Array } as const;

/** The numbers of an output. */
export function numbers(response: ModelInferResponse, name: string): number[] {
  const { index, output } = find(response, name);
  const array = ARRAYS[output.datatype as keyof typeof ARRAYS];
  return [...new array(Uint8Array.from(response.rawOutputContents[index]!).buffer)];
}

/** The elements of a BYTES output. */
export function texts(response: ModelInferResponse, name: string): Buffer[] {
  const bytes = Buffer.from(response.rawOutputContents[find(response, name).index]!);
  const elements: Buffer[] = [];
  for (let at = 0; at < bytes.length; at += 4 + bytes.readUInt32LE(at)) {
    elements.push(bytes.subarray(at + 4, at + 4 + bytes.readUInt32LE(at)));
  }
  return elements;
}

export function shapeOf(response: ModelInferResponse, name: string): number[] {
  return find(response, name).output.shape.map(Number);
}

/** A response parameter that is a text. */
export function textParameter({ parameters }: ModelInferResponse, name: string): string | undefined {
  const choice = parameters[name]?.parameterChoice;
  return choice?.$case === 'stringParam' ? choice.value : undefined;
}

function find(response: ModelInferResponse, name: string) {
  const index = response.outputs.findIndex((output) => output.name === name);
  const output = response.outputs[index];
  if (output === undefined) throw new Error(`no output ${name}`);
  return { index, output };
}

/** Elements of BYTES as raw contents. */
export function bytesData(elements: readonly Uint8Array[]): Buffer {
  return Buffer.concat(
    elements.flatMap((element) => {
      const length = Buffer.alloc(4);
      length.writeUInt32LE(element.byteLength);
      return [length, element];
    }),
  );
}

/** Bytes of a typed array. */
export function bytesOf({ buffer, byteOffset, byteLength }: ArrayBufferView): Uint8Array {
  return new Uint8Array(buffer, byteOffset, byteLength);
}
