/**
 * What the shipped encoder must beat, as descriptors for the same whitening, bank and calibration: raw pixels (whose
 * whitening is a PCA), a convolutional encoder as it is drawn, and the shipped one without whitening.
 */

import type { NetworkDescription, NetworkNode } from '../../src/network/description.js';
import { initialiseWeights } from '../../src/network/initialise.js';
import type { DescriptorNetwork } from '../../src/training/encoders/fit-whitening.js';
import type { EncoderNetwork } from '../../src/training/encoders/preset.js';

const SIDE = 224;
const NORMALISED: NetworkNode = { name: 'level0', op: 'affine', input: 'input', scale: 2 / 255, shift: -1 };

/** Patches of 64 pixels every 32, shrunk to 8 x 8 grey values each. */
export function rawPatches(): DescriptorNetwork {
  const nodes: NetworkNode[] = [
    NORMALISED,
    { name: 'small', op: 'avgPool', input: 'level0', size: 8, stride: 8, padding: 0 },
    {
      name: 'descriptor',
      op: 'conv',
      input: 'small',
      kernelSize: 8,
      stride: 4,
      padding: 0,
      inChannels: 1,
      outChannels: 64,
      bias: false,
      trainable: false,
    },
  ];
  const data = new Float32Array(64 * 64);
  for (let i = 0; i < 64; i += 1) data[i * 64 + i] = 1;
  return {
    network: { inputSize: SIDE, nodes, output: 'descriptor' },
    weights: new Map([['descriptor/kernel', { shape: [8, 8, 1, 64], data }]]),
    dimension: 64,
  };
}

/** Four 3x3 convolutions with halvings, weights as drawn; mean of each of 96 channels over a patch. */
export function randomEncoder(seed: number): DescriptorNetwork {
  const widths = [1, 24, 48, 96];
  const nodes: NetworkNode[] = [NORMALISED];
  let last = 'level0';
  widths.slice(1).forEach((outChannels, i) => {
    const convolution = { kernelSize: 3, stride: 1, padding: 1, bias: false, trainable: false } as const;
    nodes.push(
      { name: `conv${i}`, op: 'conv', input: last, inChannels: widths[i]!, outChannels, ...convolution },
      { name: `active${i}`, op: 'leakyRelu', input: `conv${i}`, alpha: 0.1 },
      { name: `pool${i}`, op: 'avgPool', input: `active${i}`, size: 2, stride: 2, padding: 0 },
    );
    last = `pool${i}`;
  });
  nodes.push({ name: 'descriptor', op: 'avgPool', input: last, size: 8, stride: 4, padding: 0 });
  const network: NetworkDescription = { inputSize: SIDE, nodes, output: 'descriptor' };
  return { network, weights: initialiseWeights(network, seed), dimension: 96 };
}

/** The descriptor made unit length as it is. */
export function unwhitened({ network, weights }: DescriptorNetwork): EncoderNetwork {
  const unit: NetworkNode = { name: 'embedding', op: 'l2Normalize', input: network.output };
  return { network: { ...network, nodes: [...network.nodes, unit], output: 'embedding' }, weights };
}
