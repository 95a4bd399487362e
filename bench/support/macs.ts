/** Computational cost of an encoder, independent of the engine. */
import { type NetworkDescription, nodeInputs } from '../../src/network/description.js';
import { inferShapes } from '../../src/network/shapes.js';

/** Multiply-accumulate operations of the convolutions in one forward pass of one sample. */
export function convolutionMacs(network: NetworkDescription, inputChannels = 1): number {
  const shapes = inferShapes(network, inputChannels);
  let macs = 0;
  for (const node of network.nodes) {
    if (node.op !== 'conv' && node.op !== 'convTranspose') continue;
    const { height, width } = shapes.get(node.op === 'conv' ? node.name : nodeInputs(node)[0]!)!;
    macs += height * width * node.kernelSize ** 2 * node.inChannels * node.outChannels;
  }
  return macs;
}
