/**
 * Writes int8 as ONNX nodes in QDQ form: tensors are quantised and dequantised again. A runtime that supports the form
 * replaces the nodes between by integer kernels; every runtime computes the same values.
 */

import type { NetworkNode } from '../description.js';
import { int8Rows, uint8Parameters } from '../int8.js';
import type { Int8Spec } from '../int8-specification.js';
import type { AttributeValue, OnnxWriter } from './writer.js';

type Convolution = Extract<NetworkNode, { op: 'conv' }>;

export function convolutionAttributes(node: Convolution): Readonly<Record<string, AttributeValue>> {
  return { strides: [node.stride, node.stride], pads: Array<number>(4).fill(node.padding) };
}

/**
 * Which tensors are rounded. `all`: also the output of a convolution before its activation; onnxruntime uses no integer
 * kernel otherwise. `activations`: only the inputs of the next convolution, for runtimes that fuse an activation into
 * the convolution before it; that is one rounding less.
 */
export type Int8Rounding = 'all' | 'activations';

/** How a tensor is rounded: its scale, and the initializers that hold scale and zero point. */
interface Uint8Tensor {
  readonly scale: number;
  readonly scaleName: string;
  readonly zeroPointName: string;
}

export class Int8Graph {
  /** Node → the dequantised tensor that later nodes read instead of its output. */
  readonly #renamed = new Map<string, string>();
  readonly #parameters = new Map<string, Uint8Tensor>();

  constructor(
    private readonly writer: OnnxWriter,
    private readonly spec: Int8Spec,
    private readonly rounding: Int8Rounding,
  ) {}

  /** A convolution whose input and output have ranges runs in int8. */
  isQuantized({ name, input }: { readonly name: string; readonly input: string }): boolean {
    return this.spec.ranges[name] !== undefined && this.#parameters.has(input);
  }

  /** The tensor that holds a node's output. */
  current(name: string): string {
    return this.#renamed.get(name) ?? name;
  }

  /** Rounds a node's output to uint8 where it has a range. */
  quantize(node: NetworkNode): void {
    const { name } = node;
    if (node.op === 'conv' && this.rounding === 'activations') return;
    // Pooling of uint8 gives uint8 of the same scale: nothing is rounded again.
    const parameters = node.op === 'maxPool' ? this.#parameters.get(node.input) : this.#newParameters(name);
    if (parameters === undefined) return;
    this.#parameters.set(name, parameters);
    const inputs = [parameters.scaleName, parameters.zeroPointName];
    const rounded = this.writer.node('QuantizeLinear', [name, ...inputs], `${name}/uint8`);
    this.#renamed.set(name, this.writer.node('DequantizeLinear', [rounded, ...inputs], `${name}/rounded`));
  }

  #newParameters(name: string): Uint8Tensor | undefined {
    const range = this.spec.ranges[name];
    if (range === undefined) return undefined;
    const { scale, zeroPoint } = uint8Parameters(range);
    return {
      scale,
      scaleName: this.writer.scalar(`${name}/scale`, scale),
      zeroPointName: this.writer.uint8(`${name}/zeroPoint`, zeroPoint),
    };
  }

  /**
   * @param input the dequantised tensor
   * @param kernel float32 [out, in, height, width]
   */
  addConvolution(
    node: Convolution,
    input: string,
    kernel: { readonly shape: readonly number[]; readonly data: Float32Array },
    bias: Float32Array | undefined,
  ): void {
    const { writer } = this;
    const { name, outChannels } = node;
    const rounded = int8Rows(kernel.data, kernel.data.length / outChannels);
    const scales = writer.floats(`${name}/kernel/scales`, [outChannels], rounded.scales);
    const stored = writer.int8s(`${name}/kernel`, kernel.shape, rounded.data);
    const perChannel = { axis: 0 };
    const inputs = [
      input,
      writer.node('DequantizeLinear', [stored, scales], `${name}/kernel/rounded`, perChannel),
    ];
    if (bias !== undefined) {
      const { scale: inputScale } = this.#parameters.get(node.input)!;
      const steps = rounded.scales.map((scale) => scale * inputScale);
      const biases = writer.int32s(
        `${name}/bias`,
        [outChannels],
        Int32Array.from(bias, (value, channel) => Math.round(value / steps[channel]!)),
      );
      const biasScales = writer.floats(`${name}/bias/scales`, [outChannels], steps);
      inputs.push(writer.node('DequantizeLinear', [biases, biasScales], `${name}/bias/rounded`, perChannel));
    }
    writer.node('Conv', inputs, name, convolutionAttributes(node));
  }
}
