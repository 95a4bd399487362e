/** Shapes of a network's tensors and weights, and the checks that a description is a proper graph. */
import { SaladError } from '../errors/index.js';
import {
  type ConvolutionNode,
  inputWidthOf,
  isConvolution,
  type NetworkDescription,
  type NetworkNode,
  nodeInputs,
  outputChannels,
  type Weights,
} from './description.js';

/** One sample's NHWC shape without the batch axis. */
export interface NodeShape {
  readonly height: number;
  readonly width: number;
  readonly channels: number;
}

export type WeightRole = 'kernel' | 'bias' | 'gamma' | 'beta' | 'mean' | 'variance';

export interface WeightSpec {
  /** `<node>/<role>`. */
  readonly name: string;
  readonly node: string;
  readonly role: WeightRole;
  readonly shape: readonly number[];
  /** False for moving statistics and for fixed filter banks: an optimiser must not touch them. */
  readonly trainable: boolean;
  /** Number of inputs of one output of the layer; only for kernels and biases. */
  readonly fanIn: number;
}

function invalid(message: string): SaladError {
  return new SaladError('BUNDLE_INVALID', `network: ${message}`);
}

/** Output side of a sliding window, rounded down as in PyTorch and ONNX. */
export function slidingSize(
  size: number,
  window: number,
  stride: number,
  padding: ConvolutionNode['padding'],
): number {
  if (padding === 'same') return Math.ceil(size / stride);
  return Math.floor((size + 2 * padding - window) / stride) + 1;
}

/** Zeros before and after a side of `size` samples that a convolution reads. */
export function paddingOf(
  size: number,
  { kernelSize, stride, padding }: Pick<ConvolutionNode, 'kernelSize' | 'stride' | 'padding'>,
): readonly [before: number, after: number] {
  if (padding !== 'same') return [padding, padding];
  const total = Math.max(0, (Math.ceil(size / stride) - 1) * stride + kernelSize - size);
  const before = Math.floor(total / 2);
  return [before, total - before];
}

function windowShape(
  input: NodeShape,
  window: number,
  stride: number,
  padding: ConvolutionNode['padding'],
  channels: number,
): NodeShape {
  return {
    height: slidingSize(input.height, window, stride, padding),
    width: slidingSize(input.width, window, stride, padding),
    channels,
  };
}

function expectChannels(node: NetworkNode, input: NodeShape, channels: number): void {
  if (input.channels !== channels) {
    throw invalid(`node ${node.name} expects ${channels} channels and gets ${input.channels}`);
  }
}

function samePlane(node: NetworkNode, inputs: readonly NodeShape[]): NodeShape {
  const first = inputs[0]!;
  for (const other of inputs) {
    if (other.height !== first.height || other.width !== first.width) {
      throw invalid(`the inputs of ${node.name} differ in height or width`);
    }
  }
  return first;
}

function cropShape(node: Extract<NetworkNode, { op: 'crop' }>, input: NodeShape): NodeShape {
  const { offset, size: height, width = height } = node;
  if (offset + height > input.height || offset + width > input.width) {
    throw invalid(`node ${node.name} crops outside its input`);
  }
  return { ...input, height, width };
}

function outputShape(node: NetworkNode, inputs: readonly NodeShape[]): NodeShape {
  const input = inputs[0]!;
  switch (node.op) {
    case 'conv':
      expectChannels(node, input, node.inChannels);
      return windowShape(input, node.kernelSize, node.stride, node.padding, node.outChannels);
    case 'depthwiseConv':
      expectChannels(node, input, node.channels);
      return windowShape(input, node.kernelSize, node.stride, node.padding, node.channels);
    case 'convTranspose':
      expectChannels(node, input, node.inChannels);
      return {
        height: input.height + node.kernelSize - 1,
        width: input.width + node.kernelSize - 1,
        channels: node.outChannels,
      };
    case 'batchNorm':
      expectChannels(node, input, node.channels);
      return input;
    case 'reflectPad':
      if (node.size >= input.height || node.size >= input.width) {
        throw invalid(`node ${node.name} reflects ${node.size} pixels of a map no larger than that`);
      }
      return { ...input, height: input.height + 2 * node.size, width: input.width + 2 * node.size };
    case 'avgPool':
      if (node.padding >= node.size) throw invalid(`node ${node.name} pads a whole window`);
      return windowShape(input, node.size, node.stride, node.padding, input.channels);
    case 'maxPool':
      return windowShape(input, node.size, node.stride, 0, input.channels);
    case 'resizeBilinear':
      return { ...input, height: node.height, width: node.width };
    case 'crop':
      return cropShape(node, input);
    case 'sliceChannels':
      if (node.offset + node.size > input.channels)
        throw invalid(`node ${node.name} slices outside its input`);
      return { ...input, channels: node.size };
    case 'concat':
      return {
        ...samePlane(node, inputs),
        channels: inputs.reduce((sum, shape) => sum + shape.channels, 0),
      };
    case 'add':
    case 'subtract':
    case 'multiply':
      expectChannels(node, inputs[1]!, input.channels);
      return samePlane(node, inputs);
    default:
      return input;
  }
}

/**
 * Shape of every tensor, `input` included.
 * @param inputChannels 1 for an encoder; the embedding size for a decoder.
 * @throws SaladError BUNDLE_INVALID where names repeat, an input is unknown, or shapes do not fit.
 */
export function inferShapes(network: NetworkDescription, inputChannels = 1): ReadonlyMap<string, NodeShape> {
  const shapes = new Map<string, NodeShape>([
    ['input', { height: network.inputSize, width: inputWidthOf(network), channels: inputChannels }],
  ]);
  for (const node of network.nodes) {
    if (shapes.has(node.name)) throw invalid(`two tensors are named ${node.name}`);
    const inputs = nodeInputs(node).map((name) => {
      const shape = shapes.get(name);
      if (shape === undefined)
        throw invalid(`node ${node.name} reads ${name}, which no earlier node computes`);
      return shape;
    });
    const shape = outputShape(node, inputs);
    if (shape.height < 1 || shape.width < 1) throw invalid(`node ${node.name} has an empty output`);
    shapes.set(node.name, shape);
  }
  if (network.output === 'input' || !shapes.has(network.output)) {
    throw invalid(`output ${network.output} is not a node`);
  }
  return shapes;
}

function convolutionSpecs(node: ConvolutionNode): WeightSpec[] {
  const { name, kernelSize, trainable } = node;
  const [inputs, shape] =
    node.op === 'conv'
      ? [node.inChannels, [kernelSize, kernelSize, node.inChannels, node.outChannels]]
      : [1, [kernelSize, kernelSize, node.channels, 1]];
  const fanIn = kernelSize * kernelSize * inputs;
  const kernel: WeightSpec = { name: `${name}/kernel`, node: name, role: 'kernel', shape, trainable, fanIn };
  if (!node.bias) return [kernel];
  const filters = outputChannels(node);
  return [kernel, { name: `${name}/bias`, node: name, role: 'bias', shape: [filters], trainable, fanIn }];
}

/** Every weight tensor the network reads, in node order. */
export function weightSpecs(network: NetworkDescription): readonly WeightSpec[] {
  const specs: WeightSpec[] = [];
  for (const node of network.nodes) {
    if (isConvolution(node)) specs.push(...convolutionSpecs(node));
    if (node.op === 'convTranspose') {
      specs.push({
        name: `${node.name}/kernel`,
        node: node.name,
        role: 'kernel',
        shape: [node.kernelSize, node.kernelSize, node.outChannels, node.inChannels],
        trainable: true,
        // PyTorch counts dimension 1 of its [in, out, kh, kw] kernel as the fan-in of a transposed convolution.
        fanIn: node.kernelSize * node.kernelSize * node.outChannels,
      });
    }
    if (node.op === 'batchNorm') {
      for (const role of ['gamma', 'beta', 'mean', 'variance'] as const) {
        specs.push({
          name: `${node.name}/${role}`,
          node: node.name,
          role,
          shape: [node.channels],
          trainable: role === 'gamma' || role === 'beta',
          fanIn: 0,
        });
      }
    }
  }
  return specs;
}

/** Number of values an optimiser may change: the parameter count that papers quote. */
export function trainableCount(network: NetworkDescription): number {
  return weightSpecs(network)
    .filter((spec) => spec.trainable)
    .reduce((sum, spec) => sum + spec.shape.reduce((product, size) => product * size, 1), 0);
}

/** @throws SaladError BUNDLE_INVALID where a weight is missing, superfluous, misshapen or not finite. */
export function checkWeights(network: NetworkDescription, weights: Weights): void {
  const specs = weightSpecs(network);
  for (const spec of specs) {
    const tensor = weights.get(spec.name);
    if (tensor === undefined) throw invalid(`weight ${spec.name} is missing`);
    if (tensor.shape.join() !== spec.shape.join()) {
      throw invalid(`weight ${spec.name} is [${tensor.shape}] and must be [${spec.shape}]`);
    }
    if (!tensor.data.every(Number.isFinite))
      throw invalid(`weight ${spec.name} has values that are not finite`);
  }
  if (weights.size !== specs.length) {
    const expected = new Set(specs.map((spec) => spec.name));
    const extra = [...weights.keys()].filter((key) => !expected.has(key));
    throw invalid(`weights that no node reads: ${extra.join(', ')}`);
  }
}
