/**
 * Runs a network description on tfjs operations: the forward pass for training and for the tfjs engines. The caller
 * chooses the backend. Import `@tensorflow/tfjs-layers` too before computing gradients: tfjs-core alone registers none.
 */
import * as tf from '@tensorflow/tfjs-core';
import { SaladError } from '../../errors/index.js';
import { BATCH_NORM_EPSILON, BATCH_NORM_MOMENTUM, L2_EPSILON } from '../constants.js';
import {
  type ConvolutionNode,
  type NetworkDescription,
  type NetworkNode,
  nodeInputs,
  type Weights,
} from '../description.js';
import { inferShapes } from '../shapes.js';
import { batchNormTraining } from './batch-norm.js';
import { resizeBilinear } from './resize.js';

/** Tensors by weight name, such as `stemaConv/kernel`. Variables are tensors too. */
export type TfjsParameters = Readonly<Record<string, tf.Tensor>>;

export interface TfjsForward {
  /** Outputs by node name, NHWC; in training only the network's output and those of `keptNodes` (`buildTfjs`). */
  readonly outputs: Readonly<Record<string, tf.Tensor4D>>;
  /** The network's output node. */
  readonly output: tf.Tensor4D;
  /** New moving statistics by weight name; empty in inference mode. Assign them after the step. */
  readonly movingStatistics: Readonly<Record<string, tf.Tensor1D>>;
}

export interface TfjsNetwork {
  readonly network: NetworkDescription;
  /**
   * Call it inside tf.tidy (or tf.grads), which disposes of the remaining tensors. In training a node's output is
   * disposed of as soon as no later node reads it; gradients keep what they need.
   * @param input float32 [batch, inputSize, inputWidth, channels]; for an encoder samples in 0..255.
   * @param mode `training` normalises by the batch's statistics, `inference` by the stored ones.
   */
  forward(input: tf.Tensor4D, parameters: TfjsParameters, mode: 'inference' | 'training'): TfjsForward;
}

interface Run {
  readonly parameters: TfjsParameters;
  readonly isTraining: boolean;
  readonly outputs: Record<string, tf.Tensor4D>;
  readonly movingStatistics: Record<string, tf.Tensor1D>;
}

function parameter<T extends tf.Tensor>(run: Run, name: string): T {
  const tensor = run.parameters[name];
  if (tensor === undefined) throw new SaladError('BUNDLE_INVALID', `weight ${name} is missing`);
  return tensor as T;
}

/** Uses mirrored slices instead of tf.mirrorPad, whose gradient omits the mirrored samples. */
function reflectPad(x: tf.Tensor4D, size: number): tf.Tensor4D {
  if (size === 0) return x;
  let padded = x;
  for (const axis of [1, 2]) {
    const length = padded.shape[axis]!;
    const slice = (from: number): tf.Tensor4D => {
      const begin = [0, 0, 0, 0];
      const extent = [...padded.shape];
      begin[axis] = from;
      extent[axis] = size;
      return tf.reverse(tf.slice(padded, begin, extent), axis) as tf.Tensor4D;
    };
    padded = tf.concat([slice(1), padded, slice(length - size - 1)], axis) as tf.Tensor4D;
  }
  return padded;
}

function batchNorm(run: Run, name: string, x: tf.Tensor4D): tf.Tensor4D {
  const gamma = parameter<tf.Tensor1D>(run, `${name}/gamma`);
  const beta = parameter<tf.Tensor1D>(run, `${name}/beta`);
  const movingMean = parameter<tf.Tensor1D>(run, `${name}/mean`);
  const movingVariance = parameter<tf.Tensor1D>(run, `${name}/variance`);
  if (!run.isTraining) {
    return tf.batchNorm(x, movingMean, movingVariance, beta, gamma, BATCH_NORM_EPSILON);
  }
  const { y, mean, variance } = batchNormTraining(x, gamma, beta);
  const count = x.size / x.shape[3];
  // As in PyTorch: the biased variance normalises the batch, the unbiased one updates the moving variance.
  const unbiased = tf.mul(variance, count / Math.max(1, count - 1));
  const move = (old: tf.Tensor, now: tf.Tensor): tf.Tensor1D =>
    tf.add(tf.mul(old, 1 - BATCH_NORM_MOMENTUM), tf.mul(now, BATCH_NORM_MOMENTUM));
  run.movingStatistics[`${name}/mean`] = move(movingMean, mean);
  run.movingStatistics[`${name}/variance`] = move(movingVariance, unbiased);
  return y;
}

/** Padding for tfjs. Numbers of padding have no gradient on libtensorflow, so `same` is passed where it means the same. */
function tfjsPadding({ padding, stride, kernelSize }: ConvolutionNode): number | 'same' {
  return stride === 1 && kernelSize === 2 * Number(padding) + 1 ? 'same' : padding;
}

function convolve(run: Run, node: ConvolutionNode, x: tf.Tensor4D): tf.Tensor4D {
  const kernel = parameter<tf.Tensor4D>(run, `${node.name}/kernel`);
  const padding = tfjsPadding(node);
  const y =
    node.op === 'conv'
      ? tf.conv2d(x, kernel, node.stride, padding)
      : tf.depthwiseConv2d(x, kernel, node.stride, padding);
  return node.bias ? tf.add(y, parameter(run, `${node.name}/bias`)) : y;
}

function convolveTransposed(
  run: Run,
  node: Extract<NetworkNode, { op: 'convTranspose' }>,
  x: tf.Tensor4D,
): tf.Tensor4D {
  const kernel = parameter<tf.Tensor4D>(run, `${node.name}/kernel`);
  const [batch, height, width] = x.shape;
  const grow = node.kernelSize - 1;
  return tf.conv2dTranspose(x, kernel, [batch, height + grow, width + grow, node.outChannels], 1, 'valid');
}

/**
 * Pads the input first, because libtensorflow's pool has no explicit padding. Padded cells do not count in the mean.
 */
function averagePool(node: Extract<NetworkNode, { op: 'avgPool' }>, x: tf.Tensor4D): tf.Tensor4D {
  const { size, stride, padding } = node;
  if (padding === 0) return tf.avgPool(x, size, stride, 'valid');
  const [, height, width] = x.shape;
  const mean = (values: tf.Tensor4D): tf.Tensor4D => {
    const border: [number, number] = [padding, padding];
    return tf.avgPool(tf.pad(values, [[0, 0], border, border, [0, 0]]), size, stride, 'valid');
  };
  return tf.div(mean(x), mean(tf.ones([1, height, width, 1])));
}

function l2Normalize(x: tf.Tensor4D): tf.Tensor4D {
  return tf.mul(x, tf.rsqrt(tf.add(tf.sum(tf.square(x), 3, true), L2_EPSILON)));
}

function apply(run: Run, node: NetworkNode, inputs: readonly tf.Tensor4D[]): tf.Tensor4D {
  const x = inputs[0]!;
  const [batch, height, width, channels] = x.shape;
  switch (node.op) {
    case 'affine':
      return tf.add(tf.mul(x, node.scale), node.shift);
    case 'clip':
      return tf.clipByValue(x, node.low, node.high);
    case 'reflectPad':
      return reflectPad(x, node.size);
    case 'conv':
    case 'depthwiseConv':
      return convolve(run, node, x);
    case 'convTranspose':
      return convolveTransposed(run, node, x);
    case 'batchNorm':
      return batchNorm(run, node.name, x);
    case 'leakyRelu':
      return tf.leakyRelu(x, node.alpha);
    case 'tanh':
      return tf.tanh(x);
    case 'square':
      return tf.square(x);
    case 'sqrt':
      return tf.sqrt(tf.add(x, node.epsilon));
    case 'log':
      return tf.log(tf.add(x, node.epsilon));
    case 'avgPool':
      return averagePool(node, x);
    case 'maxPool':
      return tf.maxPool(x, node.size, node.stride, 0);
    case 'resizeBilinear':
      return resizeBilinear(x, node.height, node.width, node.alignCorners);
    case 'crop':
      return tf.slice(
        x,
        [0, node.offset, node.offset, 0],
        [batch, node.size, node.width ?? node.size, channels],
      );
    case 'sliceChannels':
      return tf.slice(x, [0, 0, 0, node.offset], [batch, height, width, node.size]);
    case 'add':
      return tf.add(x, inputs[1]!);
    case 'subtract':
      return tf.sub(x, inputs[1]!);
    case 'multiply':
      return tf.mul(x, inputs[1]!);
    case 'concat':
      return inputs.length === 1 ? x : tf.concat([...inputs], 3);
    case 'l2Normalize':
      return l2Normalize(x);
  }
}

/** For every node the tensors that no later node reads. */
function lastReads(
  network: NetworkDescription,
  keptNodes: readonly string[],
): readonly (readonly string[])[] {
  const seen = new Set(['input', network.output, ...keptNodes]);
  const last: string[][] = [];
  for (let index = network.nodes.length - 1; index >= 0; index--) {
    const names = new Set(nodeInputs(network.nodes[index]!));
    last[index] = [...names].filter((name) => !seen.has(name));
    for (const name of names) seen.add(name);
  }
  return last;
}

/**
 * @param inputChannels 1 for an encoder, the embedding size for a decoder.
 * @param keptNodes nodes whose outputs are kept in training beside the network's own
 * @throws SaladError BUNDLE_INVALID where the description is not a proper graph.
 */
export function buildTfjs(
  network: NetworkDescription,
  inputChannels = 1,
  keptNodes: readonly string[] = [],
): TfjsNetwork {
  inferShapes(network, inputChannels);
  const unreadAfter = lastReads(network, keptNodes);
  return {
    network,
    forward(input, parameters, mode) {
      const run: Run = {
        parameters,
        isTraining: mode === 'training',
        outputs: { input },
        movingStatistics: {},
      };
      network.nodes.forEach((node, index) => {
        const inputs = nodeInputs(node).map((name) => run.outputs[name]!);
        const output = apply(run, node, inputs);
        run.outputs[node.name] = output;
        if (!run.isTraining) return;
        for (const name of unreadAfter[index]!) {
          // Some operations return their input unchanged.
          if (run.outputs[name] !== output) run.outputs[name]!.dispose();
          delete run.outputs[name];
        }
      });
      const output = run.outputs[network.output]!;
      return { outputs: run.outputs, output, movingStatistics: run.movingStatistics };
    },
  };
}

/** Weights as tensors on the current backend; the caller disposes them. */
export function tfjsParameters(weights: Weights): Record<string, tf.Tensor> {
  const parameters: Record<string, tf.Tensor> = {};
  for (const [name, { shape, data }] of weights) parameters[name] = tf.tensor(data, [...shape], 'float32');
  return parameters;
}
