/** Computational cost of an encoder, independent of the engine. */
import { isConvolution, type NetworkDescription, nodeInputs } from '../../src/network/description.js';
import { inferShapes } from '../../src/network/shapes.js';

/** Multiply-accumulate operations of the convolutions in one forward pass of one sample. */
export function convolutionMacs(network: NetworkDescription, inputChannels = 1): number {
  const shapes = inferShapes(network, inputChannels);
  let macs = 0;
  for (const node of network.nodes) {
    if (!isConvolution(node) && node.op !== 'convTranspose') continue;
    const { height, width } = shapes.get(isConvolution(node) ? node.name : nodeInputs(node)[0]!)!;
    const products = node.op === 'depthwiseConv' ? node.channels : node.inChannels * node.outChannels;
    macs += height * width * node.kernelSize ** 2 * products;
  }
  return macs;
}
