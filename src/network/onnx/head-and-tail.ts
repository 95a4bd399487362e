/** Builds an encoder as two ONNX graphs, for engines that run the first one (the head) in bfloat16. */
import { roundFilters } from '../bfloat16.js';
import {
  isConvolution,
  type NetworkDescription,
  nodeInputs,
  outputChannels,
  type Weights,
} from '../description.js';
import { foldBatchNorm } from '../fold-batch-norm.js';
import { inferShapes, type NodeShape } from '../shapes.js';
import { addEmbeddings, addNodes, addTiles, type EncoderSource } from './build.js';
import { magnitudePools } from './pool-as-convolution.js';
import { OnnxWriter } from './writer.js';

export interface HeadAndTail {
  /** Input `tiles` as buildOnnx has it, output `features` float [tiles, featureCount]. */
  readonly head: Uint8Array;
  /** Input `features`, output `embeddings` float [patches, D]. */
  readonly tail: Uint8Array;
  readonly featureCount: number;
}

/**
 * The head runs in bfloat16, and its filters are rounded for that. The tail holds the convolutions that no other
 * convolution follows, and everything after them: they whiten, which amplifies rounding errors in directions of small
 * variance.
 */
export function buildHeadAndTail(source: EncoderSource): HeadAndTail {
  const { network, weights } = foldBatchNorm(source.network, source.weights);
  const shapes = inferShapes(network);
  const tailNames = tailOf(network);
  const tailNodes = network.nodes.filter(({ name }) => tailNames.has(name));
  const headNodes = network.nodes.filter(({ name }) => !tailNames.has(name));
  // The tensors that the head computes and the tail reads.
  const cuts = [...new Set(tailNodes.flatMap(nodeInputs))].filter((name) => !tailNames.has(name));
  const sizes = cuts.map((name) => sizeOf(shapes.get(name)!));
  const featureCount = sizes.reduce((sum, size) => sum + size, 0);

  const head = new OnnxWriter();
  addTiles(head, network);
  const pools = magnitudePools(network, shapes);
  addNodes({ writer: head, weights: withRoundedFilters(network, weights), shapes, pools }, headNodes);
  const flatShape = head.int64s('features/shape', [0, -1]);
  const flat = cuts.map((name) => head.node('Reshape', [name, flatShape], `${name}/features`));
  head.node('Concat', flat, 'features', { axis: 1 });
  head.output('features', 'float', ['tiles', featureCount]);

  const tail = new OnnxWriter();
  tail.input('features', 'float', ['tiles', featureCount]);
  const splitSizes = tail.int64s('features/sizes', sizes);
  const splits = cuts.map((name) => `${name}/features`);
  tail.node('Split', ['features', splitSizes], splits, { axis: 1 });
  cuts.forEach((name, index) => {
    const { channels, height, width } = shapes.get(name)!;
    const shape = tail.int64s(`${name}/shape`, [-1, channels, height, width]);
    tail.node('Reshape', [splits[index]!, shape], name);
  });
  addNodes({ writer: tail, weights, shapes }, tailNodes);
  addEmbeddings(tail, network);
  return {
    head: head.encode('salad', 'head of a SALAD encoder, built by salad-serve'),
    tail: tail.encode('salad', 'tail of a SALAD encoder, built by salad-serve'),
    featureCount,
  };
}

const sizeOf = ({ channels, height, width }: NodeShape) => channels * height * width;

/** Convolutions whose output reaches no other convolution, and all nodes after them. */
function tailOf({ nodes }: NetworkDescription): ReadonlySet<string> {
  const reachingConvolution = new Set<string>();
  for (const node of [...nodes].reverse()) {
    if (!isConvolution(node) && !reachingConvolution.has(node.name)) continue;
    for (const input of nodeInputs(node)) reachingConvolution.add(input);
  }
  const tail = new Set<string>();
  for (const node of nodes) {
    const isLastConvolution = isConvolution(node) && !reachingConvolution.has(node.name);
    if (isLastConvolution || nodeInputs(node).some((name) => tail.has(name))) tail.add(node.name);
  }
  return tail;
}

function withRoundedFilters({ nodes }: NetworkDescription, weights: Weights): Weights {
  const out = new Map(weights);
  for (const node of nodes) {
    if (!isConvolution(node)) continue;
    const name = `${node.name}/kernel`;
    const { shape, data } = weights.get(name)!;
    out.set(name, { shape, data: roundFilters(data, outputChannels(node)) });
  }
  return out;
}
