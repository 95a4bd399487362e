/** The network description as two ONNX graphs, for engines that run the first in bfloat16. */
import { roundFilters } from '../bfloat16.js';
import { type NetworkDescription, type NetworkNode, nodeInputs, type Weights } from '../description.js';
import { inferShapes, type NodeShape } from '../shapes.js';
import { addEmbeddings, addNodes, addTiles, type EncoderSource, prepare } from './build.js';
import { Int8Graph } from './int8-graph.js';
import { magnitudePools } from './pool-as-convolution.js';
import { OnnxWriter } from './writer.js';

export interface OnnxParts {
  /** Input `tiles` as buildOnnx has it, output `features` float [tiles, featureCount]. */
  readonly head: Uint8Array;
  /** Input `features`, output `embeddings` float [patches, D]. */
  readonly tail: Uint8Array;
  readonly featureCount: number;
}

/**
 * The first graph runs in bfloat16, and its filters are rounded for that. The second holds the convolutions that no
 * other convolution follows, and everything after them: they whiten, which amplifies rounding errors in directions of
 * small variance.
 */
export function buildOnnxParts(source: EncoderSource): OnnxParts {
  const { network, weights, int8: spec } = prepare(source, 'activations');
  const shapes = inferShapes(network);
  const behind = tailOf(network);
  const isTail = ({ name }: NetworkNode) => behind.has(name);
  const read = network.nodes.filter(isTail).flatMap(nodeInputs);
  const cuts = [...new Set(read)].filter((name) => !behind.has(name));
  const sizes = cuts.map((name) => sizeOf(shapes.get(name)!));
  const featureCount = sizes.reduce((sum, size) => sum + size, 0);

  const head = new OnnxWriter();
  addTiles(head, network);
  const rest = network.nodes.filter((node) => !isTail(node));
  const pools = magnitudePools(network, shapes);
  const int8 = spec && new Int8Graph(head, spec, 'activations');
  addNodes({ writer: head, weights: rounded(network, weights), int8, shapes, pools }, rest);
  const flat = head.int64s('features/shape', [0, -1]);
  const rows = cuts.map((name) => head.node('Reshape', [name, flat], `${name}/features`));
  head.node('Concat', rows, 'features', { axis: 1 });
  head.output('features', 'float', ['tiles', featureCount]);

  const tail = new OnnxWriter();
  tail.input('features', 'float', ['tiles', featureCount]);
  const lengths = tail.int64s('features/sizes', sizes);
  const parts = cuts.map((name) => `${name}/features`);
  tail.node('Split', ['features', lengths], parts, { axis: 1 });
  cuts.forEach((name, index) => {
    const { channels, height, width } = shapes.get(name)!;
    const shape = tail.int64s(`${name}/shape`, [-1, channels, height, width]);
    tail.node('Reshape', [parts[index]!, shape], name);
  });
  addNodes({ writer: tail, weights, int8: undefined, shapes }, network.nodes.filter(isTail));
  addEmbeddings(tail, network);
  return {
    head: head.encode('salad', 'first part of a SALAD encoder, built by salad-serve'),
    tail: tail.encode('salad', 'second part of a SALAD encoder, built by salad-serve'),
    featureCount,
  };
}

const sizeOf = ({ channels, height, width }: NodeShape) => channels * height * width;

/** Convolutions whose output reaches no other convolution, and all nodes after them. */
function tailOf({ nodes }: NetworkDescription): ReadonlySet<string> {
  const leading = new Set<string>();
  for (const node of [...nodes].reverse()) {
    if (node.op !== 'conv' && !leading.has(node.name)) continue;
    for (const input of nodeInputs(node)) leading.add(input);
  }
  const tail = new Set<string>();
  for (const node of nodes) {
    const isLast = node.op === 'conv' && !leading.has(node.name);
    if (isLast || nodeInputs(node).some((name) => tail.has(name))) tail.add(node.name);
  }
  return tail;
}

function rounded({ nodes }: NetworkDescription, weights: Weights): Weights {
  const out = new Map(weights);
  for (const node of nodes) {
    if (node.op !== 'conv') continue;
    const name = `${node.name}/kernel`;
    const { shape, data } = weights.get(name)!;
    out.set(name, { shape, data: roundFilters(data, node.outChannels) });
  }
  return out;
}
