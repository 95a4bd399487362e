/**
 * The network description, and the search in the memory bank behind it, as ONNX bytes: what the onnx engine
 * runs and `models export --onnx` writes. NCHW inside; opset 18.
 */
import { type MemoryBank, searchWindow } from '../scoring/memory-bank.js';
import { chunksOf } from '../scoring/search-plan.js';
import { BATCH_NORM_EPSILON, L2_EPSILON } from './constants.js';
import { foldBatchNorm } from './fold.js';
import type { Geometry } from './geometry.js';
import type { ScoringSpec } from './manifest.js';
import { type NetworkDescription, type NetworkNode, nodeInputs, type Weights } from './network.js';
import { OnnxWriter } from './onnx-writer.js';
import { inferShapes } from './shapes.js';

/** Below every cosine: what a prototype outside the search window gets. */
export const OUTSIDE_SIMILARITY = -2;

/** What the graph is built from; a Bundle and an EngineModelSource are both this. */
export interface OnnxSource {
  readonly network: NetworkDescription;
  readonly weights: Weights;
  readonly geometry: Geometry;
  readonly search?: { readonly bank: MemoryBank; readonly scoring: ScoringSpec };
}

interface Graph {
  readonly writer: OnnxWriter;
  readonly weights: Weights;
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

function addConvolution(
  graph: Graph,
  node: Extract<NetworkNode, { op: 'conv' | 'convTranspose' }>,
  input: string,
): void {
  const { writer } = graph;
  const stored = graph.weights.get(`${node.name}/kernel`)!;
  // HWIO → OIHW; a transposed kernel is stored HWOI and ONNX wants IOHW: the same permutation.
  const kernel = permuteKernel(stored.data, stored.shape, [3, 2, 0, 1]);
  const inputs = [input, writer.floats(`${node.name}/kernel`, kernel.shape, kernel.data)];
  if (node.op === 'convTranspose') {
    writer.node('ConvTranspose', inputs, node.name, { strides: [1, 1] });
    return;
  }
  if (node.bias) {
    inputs.push(
      writer.floats(`${node.name}/bias`, [node.outChannels], graph.weights.get(`${node.name}/bias`)!.data),
    );
  }
  const pads = Array<number>(4).fill(node.padding);
  writer.node('Conv', inputs, node.name, { strides: [node.stride, node.stride], pads });
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

function addL2Normalize(writer: OnnxWriter, name: string, input: string): void {
  const square = writer.node('Mul', [input, input], `${name}/square`);
  const axes = writer.int64s(`${name}/axes`, [1]);
  const sum = writer.node('ReduceSum', [square, axes], `${name}/sum`, { keepdims: 1 });
  const safe = writer.node('Add', [sum, writer.scalar(`${name}/epsilon`, L2_EPSILON)], `${name}/safe`);
  writer.node('Div', [input, writer.node('Sqrt', [safe], `${name}/norm`)], name);
}

function addSlice(
  writer: OnnxWriter,
  name: string,
  input: string,
  axes: number[],
  from: number,
  size: number,
): void {
  const range = (role: string, value: number): string =>
    writer.int64s(
      `${name}/${role}`,
      axes.map(() => value),
    );
  writer.node(
    'Slice',
    [input, range('starts', from), range('ends', from + size), writer.int64s(`${name}/axes`, axes)],
    name,
  );
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

function addNode(graph: Graph, node: NetworkNode, inputs: readonly string[]): void {
  const { writer } = graph;
  const { name } = node;
  const x = inputs[0]!;
  if (addElementwise(graph, node, x)) return;
  switch (node.op) {
    case 'conv':
    case 'convTranspose':
      addConvolution(graph, node, x);
      break;
    case 'batchNorm':
      addBatchNorm(graph, node, x);
      break;
    case 'l2Normalize':
      addL2Normalize(writer, name, x);
      break;
    case 'reflectPad': {
      const pads = writer.int64s(`${name}/pads`, [0, 0, node.size, node.size, 0, 0, node.size, node.size]);
      writer.node('Pad', [x, pads], name, { mode: 'reflect' });
      break;
    }
    case 'avgPool':
      writer.node('AveragePool', [x], name, {
        kernel_shape: [node.size, node.size],
        strides: [node.stride, node.stride],
        pads: Array<number>(4).fill(node.padding),
        count_include_pad: 0,
      });
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
      addSlice(writer, name, x, [2, 3], node.offset, node.size);
      break;
    case 'sliceChannels':
      addSlice(writer, name, x, [1], node.offset, node.size);
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

/** float32 [D, rows] of the bank's rows `from` to `to`. */
function transposedRows({ dimension, prototypes }: MemoryBank, from: number, to: number): Float32Array {
  const rows = to - from;
  const out = new Float32Array(dimension * rows);
  for (let row = 0; row < rows; row++) {
    for (let axis = 0; axis < dimension; axis++) {
      out[axis * rows + row] = prototypes[(from + row) * dimension + axis]!;
    }
  }
  return out;
}

/** Columns `from` to `to` of a u8 table with `columns` columns. */
function tableColumns(table: Uint8Array, columns: number, from: number, to: number): Uint8Array {
  const cells = table.length / columns;
  const out = new Uint8Array(cells * (to - from));
  for (let cell = 0; cell < cells; cell++) {
    out.set(table.subarray(cell * columns + from, cell * columns + to), cell * (to - from));
  }
  return out;
}

/** Everything a chunk of the search needs beside its rows. */
interface SearchGraph {
  readonly writer: OnnxWriter;
  readonly bank: MemoryBank;
  readonly cells: number;
  /** u8 [cells, rows]; absent where every prototype is searched. */
  readonly window: Uint8Array | undefined;
}

/** The nearest `k` of a chunk of rows: names of their similarities and (within the chunk) indices. */
function addChunk(
  { writer, bank, cells, window }: SearchGraph,
  { from, to, k, name }: { from: number; to: number; k: number; name: string },
): readonly [string, string] {
  const prototypes = writer.floats(
    `bank/prototypes${name}`,
    [bank.dimension, to - from],
    transposedRows(bank, from, to),
  );
  let cosines = writer.node('MatMul', ['embeddings', prototypes], `search/product${name}`);
  if (window !== undefined) {
    const columns = tableColumns(window, bank.rows, from, to);
    const table = writer.booleans(`bank/window${name}`, [cells, to - from], columns);
    const inside = writer.node('Gather', [table, 'cells'], `search/window${name}`, { axis: 0 });
    cosines = writer.node('Where', [inside, cosines, 'search/outside'], `search/candidates${name}`);
  }
  const outputs = [`search/similarities${name}`, `search/indices${name}`] as const;
  const count = writer.int64s(`search/k${name}`, [k]);
  writer.node('TopK', [cosines, count], outputs, { axis: -1, largest: 1, sorted: 1 });
  return outputs;
}

/**
 * The K nearest of every chunk, then of those: the chunks stand in row order and TopK prefers the lower place,
 * so ties go to the lowest row as they do without chunks.
 */
function addSearch(
  writer: OnnxWriter,
  search: NonNullable<OnnxSource['search']>,
  patchGrid: number,
  chunkRows: number,
): void {
  const { bank, scoring } = search;
  const { searchRadius: radius, neighbourCount } = scoring;
  if (radius !== null) {
    writer.input('cells', 'int64', ['patches']);
    writer.scalar('search/outside', OUTSIDE_SIMILARITY);
  }
  const window = radius === null ? undefined : searchWindow(bank, patchGrid, radius);
  const graph: SearchGraph = { writer, bank, cells: patchGrid * patchGrid, window };
  const found = chunksOf(bank.rows, chunkRows).map(({ from, to }, index, { length }) => {
    const name = length === 1 ? '' : `/${index}`;
    const [similarities, indices] = addChunk(graph, {
      from,
      to,
      k: Math.min(neighbourCount, to - from),
      name,
    });
    if (from === 0) return { similarities, indices };
    const first = writer.int64s(`search/first${name}`, [from]);
    return { similarities, indices: writer.node('Add', [indices, first], `search/rows${name}`) };
  });
  let similarities = found[0]!.similarities;
  let indices = found[0]!.indices;
  if (found.length > 1) {
    const join = (names: string[], output: string) => writer.node('Concat', names, output, { axis: -1 });
    const all = join(
      found.map((chunk) => chunk.similarities),
      'search/all/similarities',
    );
    const rows = join(
      found.map((chunk) => chunk.indices),
      'search/all/rows',
    );
    const best = ['search/similarities', 'search/places'] as const;
    const k = writer.int64s('search/k', [neighbourCount]);
    writer.node('TopK', [all, k], best, { axis: -1, largest: 1, sorted: 1 });
    similarities = best[0];
    indices = writer.node('GatherElements', [rows, best[1]], 'search/indices', { axis: -1 });
  }
  // float32 products of unit vectors exceed 1.
  const bounds = [writer.scalar('search/low', OUTSIDE_SIMILARITY), writer.scalar('search/high', 1)];
  writer.node('Clip', [similarities, ...bounds], 'similarities');
  writer.node('Identity', [indices], 'indices');
  writer.output('similarities', 'float', ['patches', neighbourCount]);
  writer.output('indices', 'int64', ['patches', neighbourCount]);
}

/**
 * Inputs: `tiles` uint8 [tiles, size, size, 1]; with a search window also `cells` int64 [patches], the
 * patch's cell in the grid (row * patchGrid + column). Outputs: `embeddings` float [patches, D]; with a bank
 * `similarities` float [patches, K] in [-1, 1] (-2 outside the window), nearest first, and `indices` int64
 * [patches, K], ties to the lowest row. patches = tiles * patchesPerSide squared.
 * @param chunkRows bank rows whose similarities are held at once; the outputs do not depend on it.
 */
export function buildOnnx(source: OnnxSource, chunkRows = Number.POSITIVE_INFINITY): Uint8Array {
  const { network, weights } = foldBatchNorm(source.network, source.weights);
  const shapes = inferShapes(network);
  const size = network.inputSize;
  const writer = new OnnxWriter();
  writer.input('tiles', 'uint8', ['tiles', size, size, 1]);
  const floats = writer.node('Cast', ['tiles'], 'tiles/float', { to: 1 });
  // With one channel NHWC and NCHW hold the same bytes: a reshape is enough.
  writer.node('Reshape', [floats, writer.int64s('input/shape', [-1, 1, size, size])], 'input');
  const graph: Graph = { writer, weights };
  for (const node of network.nodes) addNode(graph, node, nodeInputs(node));
  const dimension = shapes.get(network.output)!.channels;
  const last = writer.node('Transpose', [network.output], 'embeddings/nhwc', { perm: [0, 2, 3, 1] });
  writer.node('Reshape', [last, writer.int64s('embeddings/shape', [-1, dimension])], 'embeddings');
  writer.output('embeddings', 'float', ['patches', dimension]);
  if (source.search !== undefined) addSearch(writer, source.search, source.geometry.patchGrid, chunkRows);
  return writer.encode('salad', 'SALAD encoder and memory-bank search, built by salad-serve');
}
