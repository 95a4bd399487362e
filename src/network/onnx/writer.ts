/** Collects the nodes and initializers of an ONNX graph (opset 18) and encodes them. */
import { endianness } from 'node:os';
import { SaladError } from '../../errors/index.js';
import {
  AttributeProto,
  AttributeProto_AttributeType,
  ModelProto,
  NodeProto,
  TensorProto,
  TensorProto_DataType,
  ValueInfoProto,
} from '../../gen/onnx/onnx.js';

const IR_VERSION = 8n;
const OPSET = 18n;

export type AttributeValue = number | string | readonly number[] | { readonly float: number };
export type ElementType = 'float' | 'int64' | 'int32' | 'uint8' | 'int8' | 'bool';

const DATA_TYPES: Record<ElementType, TensorProto_DataType> = {
  float: TensorProto_DataType.FLOAT,
  int64: TensorProto_DataType.INT64,
  int32: TensorProto_DataType.INT32,
  uint8: TensorProto_DataType.UINT8,
  int8: TensorProto_DataType.INT8,
  bool: TensorProto_DataType.BOOL,
};

function attribute(name: string, value: AttributeValue): AttributeProto {
  if (typeof value === 'number') {
    return AttributeProto.fromPartial({ name, type: AttributeProto_AttributeType.INT, i: BigInt(value) });
  }
  if (typeof value === 'string') {
    const type = AttributeProto_AttributeType.STRING;
    return AttributeProto.fromPartial({ name, type, s: new TextEncoder().encode(value) });
  }
  if ('float' in value) {
    return AttributeProto.fromPartial({ name, type: AttributeProto_AttributeType.FLOAT, f: value.float });
  }
  const type = AttributeProto_AttributeType.INTS;
  return AttributeProto.fromPartial({ name, type, ints: value.map(BigInt) });
}

/** Raw data of an initializer is little-endian, which is what typed arrays hold on every supported machine. */
function rawBytes(data: Float32Array | Uint8Array | Int8Array | Int32Array | BigInt64Array): Uint8Array {
  if (endianness() !== 'LE') throw new SaladError('INTERNAL', 'ONNX bytes need a little-endian machine');
  return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
}

export class OnnxWriter {
  private readonly nodes: NodeProto[] = [];
  private readonly initializers: TensorProto[] = [];
  private readonly inputs: ValueInfoProto[] = [];
  private readonly outputs: ValueInfoProto[] = [];

  /** Adds a node with one output (or the outputs named) and returns the first output's name. */
  node(
    opType: string,
    inputs: readonly string[],
    output: string | readonly string[],
    attributes: Readonly<Record<string, AttributeValue>> = {},
  ): string {
    const outputs = typeof output === 'string' ? [output] : [...output];
    this.nodes.push(
      NodeProto.fromPartial({
        opType,
        name: outputs[0],
        input: [...inputs],
        output: outputs,
        attribute: Object.entries(attributes).map(([name, value]) => attribute(name, value)),
      }),
    );
    return outputs[0]!;
  }

  private initializer(
    name: string,
    type: ElementType,
    dims: readonly number[],
    data: Float32Array | Uint8Array | Int8Array | Int32Array | BigInt64Array,
  ): string {
    const tensor = TensorProto.fromPartial({ name, dataType: DATA_TYPES[type], dims: dims.map(BigInt) });
    // Set afterwards: fromPartial would copy the weights element by element.
    tensor.rawData = rawBytes(data);
    this.initializers.push(tensor);
    return name;
  }

  floats(name: string, dims: readonly number[], data: Float32Array): string {
    return this.initializer(name, 'float', dims, data);
  }

  scalar(name: string, value: number): string {
    return this.initializer(name, 'float', [], Float32Array.of(value));
  }

  int64s(name: string, values: readonly number[]): string {
    return this.initializer(name, 'int64', [values.length], BigInt64Array.from(values, BigInt));
  }

  uint8(name: string, value: number): string {
    return this.initializer(name, 'uint8', [], Uint8Array.of(value));
  }

  booleans(name: string, dims: readonly number[], data: Uint8Array): string {
    return this.initializer(name, 'bool', dims, data);
  }

  /** A string dimension is a free axis of that name. */
  input(name: string, type: ElementType, shape: readonly (number | string)[]): void {
    this.inputs.push(valueInfo(name, type, shape));
  }

  output(name: string, type: ElementType, shape: readonly (number | string)[]): void {
    this.outputs.push(valueInfo(name, type, shape));
  }

  encode(graphName: string, description: string): Uint8Array {
    const model = ModelProto.fromPartial({
      irVersion: IR_VERSION,
      opsetImport: [{ domain: '', version: OPSET }],
      producerName: 'salad-serve',
      docString: description,
    });
    model.graph = {
      name: graphName,
      node: this.nodes,
      initializer: this.initializers,
      sparseInitializer: [],
      input: this.inputs,
      output: this.outputs,
      valueInfo: [],
      quantizationAnnotation: [],
      metadataProps: [],
    };
    return ModelProto.encode(model).finish();
  }
}

function valueInfo(name: string, type: ElementType, shape: readonly (number | string)[]): ValueInfoProto {
  const dim = shape.map((size) =>
    typeof size === 'number'
      ? { value: { $case: 'dimValue' as const, value: BigInt(size) } }
      : { value: { $case: 'dimParam' as const, value: size } },
  );
  return ValueInfoProto.fromPartial({
    name,
    type: { value: { $case: 'tensorType', value: { elemType: DATA_TYPES[type], shape: { dim } } } },
  });
}
