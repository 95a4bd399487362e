/**
 * Builds ONNX bytes from the network description and the search of the memory bank: what the onnx engine runs and
 * `models export --onnx` writes. NCHW inside; opset 18.
 */

import type { Geometry } from '../../geometry/geometry.js';
import type { ScoringSpec } from '../../geometry/specifications.js';
import type { MemoryBank } from '../../scoring/memory-bank.js';
import { BATCH_NORM_EPSILON, L2_EPSILON } from '../constants.js';
import {
  type ConvolutionNode,
  inputWidthOf,
  type NetworkDescription,
  type NetworkNode,
  nodeInputs,
  type Weights,
} from '../description.js';
import { foldBatchNorm } from '../fold-batch-norm.js';
import { inferShapes, type NodeShape, paddingOf } from '../shapes.js';
import { addPoolAsConvolution } from './pool-as-convolution.js';
import { addSearch } from './search-nodes.js';
import { OnnxWriter } from './writer.js';

/** The input of `buildOnnx`; Bundle and EngineModelSource have these fields. */
export interface OnnxSource {
  readonly network: NetworkDescription;
  readonly weights: Weights;
  readonly geometry: Geometry;
  readonly search?: { readonly bank: MemoryBank; readonly scoring: ScoringSpec };
}

/** The fields of OnnxSource that describe the encoder. */
export type EncoderSource = Pick<OnnxSource, 'network' | 'weights'>;

/** A graph that is being written. */
export interface Graph {
  readonly writer: OnnxWriter;
  readonly weights: Weights;
  /** Output shape of every node, by name. */
  readonly shapes: ReadonlyMap<string, NodeShape>;
  /** Input shapes of the average pools that are written as convolutions, by the pool's name. */
  readonly pools?: ReadonlyMap<string, NodeShape>;
}

/** [a, b, c, d] → the axes in `order`, such as HWIO → OIHW with [3, 2, 0, 1]. */
function permuteKernel(
  data: Float32Array,
  shape: readonly number[],
  order: readonly [number, number, number, number],
): { readonly shape: number[]; readonly data: Float32Array } {
  const strides = [shape[1]! * shape[2]! * shape[3]!, shape[2]! * shape[3]!, shape[3]!, 1];
  const target = order.map((axis) => shape[axis]!);
  const step = order.map((axis) => strides[axis]!);
  const out = new Float32Array(data.length);
  let at = 0;
  for (let a = 0; a < target[0]!; a++) {
    for (let b = 0; b < target[1]!; b++) {
      for (let c = 0; c < target[2]!; c++) {
        const base = a * step[0]! + b * step[1]! + c * step[2]!;
        for (let d = 0; d < target[3]!; d++) out[at++] = data[base + d * step[3]!]!;
      }
    }
  }
  return { shape: target, data: out };
}

function addConvolution(graph: Graph, node: ConvolutionNode, input: string): void {
  const { writer, weights, shapes } = graph;
  const stored = weights.get(`${node.name}/kernel`)!;
  // HWIO → OIHW. A depthwise kernel [h, w, channels, 1] becomes [channels, 1, h, w]: one group a channel.
  const order = node.op === 'conv' ? ([3, 2, 0, 1] as const) : ([2, 3, 0, 1] as const);
  const kernel = permuteKernel(stored.data, stored.shape, order);
  const inputs = [input, writer.floats(`${node.name}/kernel`, kernel.shape, kernel.data)];
  if (node.bias) {
    const bias = weights.get(`${node.name}/bias`)!;
    inputs.push(writer.floats(`${node.name}/bias`, bias.shape, bias.data));
  }
  const { height, width } = shapes.get(node.input)!;
  const [[top, bottom], [left, right]] = [paddingOf(height, node), paddingOf(width, node)];
  writer.node('Conv', inputs, node.name, {
    strides: [node.stride, node.stride],
    pads: [top, left, bottom, right],
    ...(node.op === 'depthwiseConv' ? { group: node.channels } : {}),
  });
}

function addTransposedConvolution(
  { writer, weights }: Graph,
  { name }: Extract<NetworkNode, { op: 'convTranspose' }>,
  input: string,
): void {
  const stored = weights.get(`${name}/kernel`)!;
  // HWOI → IOHW.
  const kernel = permuteKernel(stored.data, stored.shape, [3, 2, 0, 1]);
  writer.node('ConvTranspose', [input, writer.floats(`${name}/kernel`, kernel.shape, kernel.data)], name, {
    strides: [1, 1],
  });
}

function addBatchNorm(graph: Graph, node: Extract<NetworkNode, { op: 'batchNorm' }>, input: string): void {
  const parameters = ['gamma', 'beta', 'mean', 'variance'].map((role) => {
    const name = `${node.name}/${role}`;
    return graph.writer.floats(name, [node.channels], graph.weights.get(name)!.data);
  });
  graph.writer.node('BatchNormalization', [input, ...parameters], node.name, {
    epsilon: { float: BATCH_NORM_EPSILON },
  });
}

/**
 * Sums over channels by a convolution with ones. onnxruntime's ReduceSum adds in one order for one tile and in another
 * for several, so scores would depend on the batch size in the last bit.
 */
function addL2Normalize(writer: OnnxWriter, name: string, input: string, channels: number): void {
  const square = writer.node('Mul', [input, input], `${name}/square`);
  const ones = writer.floats(`${name}/ones`, [1, channels, 1, 1], new Float32Array(channels).fill(1));
  const sum = writer.node('Conv', [square, ones], `${name}/sum`, { kernel_shape: [1, 1] });
  const safe = writer.node('Add', [sum, writer.scalar(`${name}/epsilon`, L2_EPSILON)], `${name}/safe`);
  writer.node('Div', [input, writer.node('Sqrt', [safe], `${name}/norm`)], name);
}

function addSlice(
  writer: OnnxWriter,
  name: string,
  input: string,
  axes: readonly number[],
  from: number,
  sizes: readonly number[],
): void {
  const integers = (role: string, values: readonly number[]): string =>
    writer.int64s(`${name}/${role}`, [...values]);
  const starts = integers(
    'starts',
    sizes.map(() => from),
  );
  const ends = integers(
    'ends',
    sizes.map((size) => from + size),
  );
  writer.node('Slice', [input, starts, ends, integers('axes', axes)], name);
}

function addElementwise(graph: Graph, node: NetworkNode, x: string): boolean {
  const { writer } = graph;
  const { name } = node;
  switch (node.op) {
    case 'affine': {
      const scaled = writer.node('Mul', [x, writer.scalar(`${name}/scale`, node.scale)], `${name}/scaled`);
      writer.node('Add', [scaled, writer.scalar(`${name}/shift`, node.shift)], name);
      return true;
    }
    case 'clip':
      writer.node(
        'Clip',
        [x, writer.scalar(`${name}/low`, node.low), writer.scalar(`${name}/high`, node.high)],
        name,
      );
      return true;
    case 'leakyRelu':
      writer.node('LeakyRelu', [x], name, { alpha: { float: node.alpha } });
      return true;
    case 'tanh':
      writer.node('Tanh', [x], name);
      return true;
    case 'square':
      writer.node('Mul', [x, x], name);
      return true;
    case 'sqrt':
    case 'log': {
      const sum = writer.node('Add', [x, writer.scalar(`${name}/epsilon`, node.epsilon)], `${name}/sum`);
      writer.node(node.op === 'sqrt' ? 'Sqrt' : 'Log', [sum], name);
      return true;
    }
    default:
      return false;
  }
}

function addAveragePool(graph: Graph, node: Extract<NetworkNode, { op: 'avgPool' }>, input: string): void {
  const { writer } = graph;
  const shape = graph.pools?.get(node.name);
  if (shape !== undefined) {
    addPoolAsConvolution(writer, node, input, shape);
    return;
  }
  writer.node('AveragePool', [input], node.name, {
    kernel_shape: [node.size, node.size],
    strides: [node.stride, node.stride],
    pads: Array<number>(4).fill(node.padding),
    count_include_pad: 0,
  });
}

function addNode(graph: Graph, node: NetworkNode, inputs: readonly string[]): void {
  const { writer } = graph;
  const { name } = node;
  const x = inputs[0]!;
  if (addElementwise(graph, node, x)) return;
  switch (node.op) {
    case 'conv':
    case 'depthwiseConv':
      addConvolution(graph, node, x);
      break;
    case 'convTranspose':
      addTransposedConvolution(graph, node, x);
      break;
    case 'batchNorm':
      addBatchNorm(graph, node, x);
      break;
    case 'l2Normalize':
      addL2Normalize(writer, name, x, graph.shapes.get(name)!.channels);
      break;
    case 'reflectPad': {
      const pads = writer.int64s(`${name}/pads`, [0, 0, node.size, node.size, 0, 0, node.size, node.size]);
      writer.node('Pad', [x, pads], name, { mode: 'reflect' });
      break;
    }
    case 'avgPool':
      addAveragePool(graph, node, x);
      break;
    case 'maxPool':
      writer.node('MaxPool', [x], name, {
        kernel_shape: [node.size, node.size],
        strides: [node.stride, node.stride],
      });
      break;
    case 'resizeBilinear':
      writer.node('Resize', [x, '', '', writer.int64s(`${name}/sizes`, [node.height, node.width])], name, {
        mode: 'linear',
        coordinate_transformation_mode: node.alignCorners ? 'align_corners' : 'half_pixel',
        axes: [2, 3],
      });
      break;
    case 'crop':
      addSlice(writer, name, x, [2, 3], node.offset, [node.size, node.width ?? node.size]);
      break;
    case 'sliceChannels':
      addSlice(writer, name, x, [1], node.offset, [node.size]);
      break;
    case 'concat':
      writer.node('Concat', inputs, name, { axis: 1 });
      break;
    case 'add':
    case 'subtract':
    case 'multiply':
      writer.node({ add: 'Add', subtract: 'Sub', multiply: 'Mul' }[node.op], inputs, name);
      break;
  }
}

/**
 * Inputs: `tiles` uint8 [tiles, inputSize, inputWidth, 1]; with a search window also `cells` int64 [patches], the
 * patch's cell in the grid (row * patchGrid + column). Outputs: `embeddings` float [patches, D]; with a bank
 * `similarities` float [patches, K] in [-1, 1] (-2 outside the window), nearest first, and `indices` int64
 * [patches, K], ties to the lowest row. patches = tiles * patchesPerTile.
 * @param options.chunkRows bank rows that are ranked at a time; the outputs do not depend on it.
 */
export function buildOnnx(
  source: OnnxSource,
  { chunkRows = Number.POSITIVE_INFINITY }: { readonly chunkRows?: number } = {},
): Uint8Array {
  const { network, weights } = foldBatchNorm(source.network, source.weights);
  const writer = new OnnxWriter();
  addTiles(writer, network);
  addNodes({ writer, weights, shapes: inferShapes(network) }, network.nodes);
  addEmbeddings(writer, network);
  if (source.search !== undefined) addSearch(writer, source.search, source.geometry.patchGrid, chunkRows);
  return writer.encode('salad', 'SALAD encoder and memory-bank search, built by salad-serve');
}

export function addTiles(writer: OnnxWriter, network: NetworkDescription): void {
  const height = network.inputSize;
  const width = inputWidthOf(network);
  writer.input('tiles', 'uint8', ['tiles', height, width, 1]);
  const floats = writer.node('Cast', ['tiles'], 'tiles/float', { to: 1 });
  // With one channel NHWC and NCHW hold the same bytes: a reshape is enough.
  writer.node('Reshape', [floats, writer.int64s('input/shape', [-1, 1, height, width])], 'input');
}

export function addNodes(graph: Graph, nodes: readonly NetworkNode[]): void {
  for (const node of nodes) addNode(graph, node, nodeInputs(node));
}

export function addEmbeddings(writer: OnnxWriter, network: NetworkDescription): void {
  const dimension = inferShapes(network).get(network.output)!.channels;
  const last = writer.node('Transpose', [network.output], 'embeddings/nhwc', { perm: [0, 2, 3, 1] });
  writer.node('Reshape', [last, writer.int64s('embeddings/shape', [-1, dimension])], 'embeddings');
  writer.output('embeddings', 'float', ['patches', dimension]);
}
