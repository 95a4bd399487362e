/** The network description as two ONNX graphs, for engines that run the first in bfloat16. */
import { roundFilters } from './bfloat16.js';
import { addEmbeddings, addNodes, addTiles, type OnnxSource } from './build-onnx.js';
import { magnitudePools } from './build-onnx-pool.js';
import { foldBatchNorm } from './fold.js';
import { type NetworkDescription, nodeInputs, type Weights } from './network.js';
import { OnnxWriter } from './onnx-writer.js';
import { inferShapes } from './shapes.js';

/**
 * The encoder in two graphs, the first to be run in bfloat16, for which its filters are rounded. It gives `features`
 * float [tiles, C, H, W], the second takes them.
 * @param cut the node of the network (batch norm folded) whose output they are; all behind it reads nothing else
 */
export function buildOnnxParts(
  source: Pick<OnnxSource, 'network' | 'weights'>,
  cut: string,
): {
  readonly head: Uint8Array;
  readonly tail: Uint8Array;
  readonly shape: readonly [number, number, number];
} {
  const { network, weights } = foldBatchNorm(source.network, source.weights);
  const shapes = inferShapes(network);
  const { channels, height, width } = shapes.get(cut)!;
  const at = network.nodes.findIndex(({ name }) => name === cut) + 1;
  const head = new OnnxWriter();
  addTiles(head, network);
  const convolved = magnitudePools(network);
  const pools = new Map(
    network.nodes.flatMap((node) =>
      convolved.has(node.name) ? [[node.name, shapes.get(nodeInputs(node)[0]!)!] as const] : [],
    ),
  );
  const filters = rounded(network, weights);
  addNodes({ writer: head, weights: filters, int8: undefined, pools }, network.nodes.slice(0, at));
  head.node('Identity', [cut], 'features');
  head.output('features', 'float', ['tiles', channels, height, width]);
  const tail = new OnnxWriter();
  tail.input('features', 'float', ['tiles', channels, height, width]);
  tail.node('Identity', ['features'], cut);
  addNodes({ writer: tail, weights, int8: undefined }, network.nodes.slice(at));
  addEmbeddings(tail, network);
  return {
    head: head.encode('salad', 'first part of a SALAD encoder, built by salad-serve'),
    tail: tail.encode('salad', 'second part of a SALAD encoder, built by salad-serve'),
    shape: [channels, height, width],
  };
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
