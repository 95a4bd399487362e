/**
 * Chooses the tensors of an encoder that run in int8 and computes their scales: affine quantisation as in ONNX
 * QuantizeLinear, value = scale * (q - zeroPoint), activations uint8 per tensor, weights int8 per output channel.
 */

import { type NetworkDescription, type NetworkNode, nodeInputs, type Weights } from './description.js';
import { foldBatchNorm } from './fold-batch-norm.js';
import type { Int8Spec } from './int8-specification.js';

type Convolution = Extract<NetworkNode, { op: 'conv' }>;

export type ActivationRange = Int8Spec['ranges'][string];

/**
 * Convolutions with fewer output channels stay float32: integer kernels gain least on 16 channels, and rounding errors
 * of the first layers pass through all others (docs/results/2026-11/engines.md).
 */
const MIN_CHANNELS = 32;

/**
 * The network that int8 is applied to: batch norm folded, and max pooling moved before the leaky ReLU. Both are
 * monotone, so the values are the same, and the activation handles a quarter of them. A swapped pair keeps its
 * positions and names.
 */
export function int8Network(
  network: NetworkDescription,
  weights: Weights,
): { readonly network: NetworkDescription; readonly weights: Weights } {
  const folded = foldBatchNorm(network, weights);
  const nodes = [...folded.network.nodes];
  nodes.forEach((pool, at) => {
    if (pool.op !== 'maxPool') return;
    const activation = wideActivationBefore(nodes, pool);
    if (activation === undefined) return;
    nodes[nodes.indexOf(activation)] = { ...pool, name: activation.name, input: activation.input };
    nodes[at] = { ...activation, name: pool.name, input: activation.name };
  });
  return { network: { ...folded.network, nodes }, weights: folded.weights };
}

function isWide(node: NetworkNode | undefined): node is Convolution {
  return node?.op === 'conv' && node.outChannels >= MIN_CHANNELS;
}

/** The activation of a wide convolution that a pool, and nothing else, reads. */
function wideActivationBefore(
  nodes: readonly NetworkNode[],
  pool: Extract<NetworkNode, { op: 'maxPool' }>,
): Extract<NetworkNode, { op: 'leakyRelu' }> | undefined {
  const before = nodes.find(({ name }) => name === pool.input);
  if (before?.op !== 'leakyRelu' || readersOf(nodes, before.name).length > 1) return undefined;
  return isWide(nodes.find(({ name }) => name === before.input)) ? before : undefined;
}

function readersOf(nodes: readonly NetworkNode[], name: string): readonly NetworkNode[] {
  return nodes.filter((node) => nodeInputs(node).includes(name));
}

/**
 * Hidden convolutions of an int8Network: each is followed by a leaky ReLU, with or without a pool between. The layer
 * that gives the embedding stays float32, and so does a fixed filter bank: most of its magnitudes are small, and uint8
 * would round them to zero.
 */
export function hiddenConvolutions({ nodes }: NetworkDescription): readonly Convolution[] {
  const leadsToActivation = (name: string): boolean => {
    const readers = readersOf(nodes, name);
    return (
      readers.length > 0 &&
      readers.every(
        (node) => node.op === 'leakyRelu' || (node.op === 'maxPool' && leadsToActivation(node.name)),
      )
    );
  };
  return nodes.filter(isWide).filter(({ name }) => leadsToActivation(name));
}

/** Inputs and outputs of those convolutions: the tensors that need a range, in the network's order. */
export function quantizedTensors(network: NetworkDescription): readonly string[] {
  const names = new Set(hiddenConvolutions(network).flatMap(({ name, input }) => [name, input]));
  return network.nodes.map(({ name }) => name).filter((name) => names.has(name));
}

/**
 * The same specification for the network whose pooling follows its activations (batch norm folded, nothing swapped),
 * where only activations are rounded: an activation that is max-pooled has the range of its pool.
 */
export function rangesOfActivations({ nodes }: NetworkDescription, { ranges, ...spec }: Int8Spec): Int8Spec {
  const own = { ...ranges };
  for (const node of nodes) {
    if (node.op !== 'maxPool') continue;
    const activation = wideActivationBefore(nodes, node);
    const range = ranges[node.name];
    if (activation !== undefined && range !== undefined) own[activation.name] = range;
  }
  return { ...spec, ranges: own };
}

/** Zero is exactly representable, because zero padding needs it. */
export function uint8Parameters({ low, high }: ActivationRange): {
  readonly scale: number;
  readonly zeroPoint: number;
} {
  const from = Math.min(low, 0);
  const to = Math.max(high, 0);
  // A tensor that is zero everywhere still needs a scale.
  const scale = Math.fround(Math.max(to - from, 1e-6) / 255);
  return { scale, zeroPoint: Math.max(0, Math.min(255, Math.round(-from / scale))) };
}

/** Symmetric quantisation of rows of `size` values, one scale a row. @returns int8 [rows, size] and float32 [rows] */
export function int8Rows(
  data: Float32Array,
  size: number,
): { readonly data: Int8Array; readonly scales: Float32Array } {
  const out = new Int8Array(data.length);
  const scales = new Float32Array(data.length / size);
  for (let row = 0; row < scales.length; row++) {
    const values = data.subarray(row * size, (row + 1) * size);
    const largest = values.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
    const scale = Math.fround(Math.max(largest, 1e-12) / 127);
    scales[row] = scale;
    values.forEach((value, index) => {
      out[row * size + index] = Math.max(-127, Math.min(127, Math.round(value / scale)));
    });
  }
  return { data: out, scales };
}
