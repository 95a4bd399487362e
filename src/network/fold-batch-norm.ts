/** Batch norm folded into the convolution before it, so that engines run one operation instead of two. */
import { BATCH_NORM_EPSILON } from './constants.js';
import {
  type ConvolutionNode,
  isConvolution,
  type NetworkDescription,
  type NetworkNode,
  nodeInputs,
  outputChannels,
  type Weights,
  type WeightTensor,
} from './description.js';

function readCounts(network: NetworkDescription): ReadonlyMap<string, number> {
  const counts = new Map<string, number>([[network.output, 1]]);
  for (const node of network.nodes) {
    for (const name of nodeInputs(node)) counts.set(name, (counts.get(name) ?? 0) + 1);
  }
  return counts;
}

function foldOne(conv: ConvolutionNode, norm: string, weights: Map<string, WeightTensor>): void {
  const channels = outputChannels(conv);
  const read = (name: string): Float32Array => weights.get(name)?.data ?? new Float32Array(channels);
  const kernel = weights.get(`${conv.name}/kernel`)!;
  const bias = read(`${conv.name}/bias`);
  const [gamma, beta, mean, variance] = ['gamma', 'beta', 'mean', 'variance'].map((role) =>
    read(`${norm}/${role}`),
  ) as [Float32Array, Float32Array, Float32Array, Float32Array];
  const scale = Float64Array.from(gamma, (value, c) => value / Math.sqrt(variance[c]! + BATCH_NORM_EPSILON));
  weights.set(`${conv.name}/kernel`, {
    shape: kernel.shape,
    data: kernel.data.map((value, index) => value * scale[index % channels]!),
  });
  weights.set(`${conv.name}/bias`, {
    shape: [channels],
    data: Float32Array.from(beta, (value, c) => value + (bias[c]! - mean[c]!) * scale[c]!),
  });
  for (const role of ['gamma', 'beta', 'mean', 'variance']) weights.delete(`${norm}/${role}`);
}

/**
 * The same function with fewer nodes. A batch norm after a convolution that no other node reads is merged into it; any
 * other batch norm stays. Products are computed in float64 and rounded once.
 */
export function foldBatchNorm(
  network: NetworkDescription,
  weights: Weights,
): { readonly network: NetworkDescription; readonly weights: Weights } {
  const reads = readCounts(network);
  const folded = new Map(weights);
  const renamed = new Map<string, string>();
  const current = (name: string): string => renamed.get(name) ?? name;
  const nodes: NetworkNode[] = [];
  for (const node of network.nodes) {
    if (node.op === 'batchNorm') {
      const at = nodes.findIndex((other) => other.name === node.input);
      const before = nodes[at];
      if (isConvolution(before) && reads.get(node.input) === 1) {
        foldOne(before, node.name, folded);
        nodes[at] = { ...before, bias: true };
        renamed.set(node.name, before.name);
        continue;
      }
    }
    nodes.push(
      'inputs' in node
        ? ({ ...node, inputs: node.inputs.map(current) } as NetworkNode)
        : { ...node, input: current(node.input) },
    );
  }
  return { network: { ...network, nodes, output: current(network.output) }, weights: folded };
}
