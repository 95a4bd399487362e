/** The learned networks as descriptions: SALAD's double-conv encoder, its decoder, and the paper's U-Net. */
import { SaladError } from '../errors/index.js';
import type { NetworkDescription, NetworkNode } from './description.js';

/**
 * Side of the deepest map, which the `feature` convolution turns into one vector
 * (docs/explanation/salad-method.md, section 3).
 */
const FEATURE_SIZE = 4;
const LEAKY_ALPHA = 0.1;

export interface SaladNetworkOptions {
  /** Side of a tile in pixels; the deepest map must be at least 4 x 4. A decoder needs exactly 4 x 4. */
  readonly inputSize: number;
  /** Channels of the stem; each halving doubles them. */
  readonly baseWidth: number;
  /** Number of halvings: log2(inputSize / 4) for one patch per tile. */
  readonly downs: number;
  /** Embedding size D. */
  readonly embedding: number;
  /** 3 replicates the grey channel as the paper's code does; 1 saves the copies. */
  readonly channels?: 1 | 3;
}

/** Appends nodes and returns the name of the last one. */
class NetworkBuilder {
  readonly nodes: NetworkNode[] = [];

  add(node: NetworkNode): string {
    this.nodes.push(node);
    return node.name;
  }

  conv(name: string, input: string, size: number, padding: number, from: number, to: number): string {
    return this.add({
      op: 'conv',
      name,
      input,
      kernelSize: size,
      stride: 1,
      padding,
      inChannels: from,
      outChannels: to,
      bias: false,
      trainable: true,
    });
  }

  /** Two times (3 x 3 conv without bias, batch norm, leaky ReLU). */
  doubleConv(name: string, input: string, from: number, to: number): string {
    let last = input;
    for (const half of ['a', 'b']) {
      const conv = this.conv(`${name}${half}Conv`, last, 3, 1, half === 'a' ? from : to, to);
      const norm = this.add({ op: 'batchNorm', name: `${name}${half}Norm`, input: conv, channels: to });
      last = this.add({ op: 'leakyRelu', name: `${name}${half}`, input: norm, alpha: LEAKY_ALPHA });
    }
    return last;
  }
}

function checkSizes(options: SaladNetworkOptions): number {
  const deepest = options.inputSize / 2 ** options.downs;
  if (!Number.isInteger(deepest) || deepest < FEATURE_SIZE) {
    throw new SaladError(
      'CONFIGURATION_INVALID',
      `inputSize ${options.inputSize} halved ${options.downs} times must be a whole number >= ${FEATURE_SIZE}`,
    );
  }
  return deepest;
}

/**
 * Tile [batch, inputSize, inputSize, 1] in 0..255 → unit embeddings [batch, p, p, embedding] with
 * p = inputSize / 2^downs - 3. Node `normalised` holds what a decoder has to reproduce, in [-1, 1].
 * @throws SaladError CONFIGURATION_INVALID where the sizes do not fit.
 */
export function saladEncoder(options: SaladNetworkOptions): NetworkDescription {
  checkSizes(options);
  const { inputSize, baseWidth, downs, embedding, channels = 1 } = options;
  const builder = new NetworkBuilder();
  const gray = builder.add({
    op: 'affine',
    name: channels === 3 ? 'gray' : 'normalised',
    input: 'input',
    scale: 2 / 255,
    shift: -1,
  });
  let last = gray;
  if (channels === 3) {
    last = builder.add({ op: 'concat', name: 'normalised', inputs: [gray, gray, gray] });
  }
  last = builder.doubleConv('stem', last, channels, baseWidth);
  for (let level = 1; level <= downs; level++) {
    const pooled = builder.add({ op: 'maxPool', name: `e${level}Pool`, input: last, size: 2, stride: 2 });
    last = builder.doubleConv(`e${level}`, pooled, baseWidth * 2 ** (level - 1), baseWidth * 2 ** level);
  }
  last = builder.conv('feature', last, FEATURE_SIZE, 0, baseWidth * 2 ** downs, embedding);
  builder.add({ op: 'l2Normalize', name: 'embedding', input: last });
  return { inputSize, nodes: builder.nodes, output: 'embedding' };
}

/**
 * The mirror of `saladEncoder` with the same options: its `input` is the embedding [batch, 1, 1, embedding],
 * its output [batch, inputSize, inputSize, channels] in [-1, 1]. The embedding is its only input, so the
 * reconstruction constrains the embedding.
 * @throws SaladError CONFIGURATION_INVALID where the encoder gives more than one patch per tile.
 */
export function saladDecoder(options: SaladNetworkOptions): NetworkDescription {
  if (checkSizes(options) !== FEATURE_SIZE) {
    throw new SaladError('CONFIGURATION_INVALID', 'a decoder needs an encoder with one patch per tile');
  }
  const { baseWidth, downs, embedding, channels = 1 } = options;
  const builder = new NetworkBuilder();
  let width = baseWidth * 2 ** downs;
  let size = FEATURE_SIZE;
  let last = builder.add({
    op: 'convTranspose',
    name: 'defeature',
    input: 'input',
    kernelSize: FEATURE_SIZE,
    inChannels: embedding,
    outChannels: width,
  });
  for (let level = 1; level <= downs; level++) {
    size *= 2;
    last = builder.add({
      op: 'resizeBilinear',
      name: `d${level}Up`,
      input: last,
      height: size,
      width: size,
      alignCorners: true,
    });
    last = builder.conv(`d${level}Conv`, last, 1, 0, width, width / 2);
    width /= 2;
    last = builder.add({ op: 'batchNorm', name: `d${level}Norm`, input: last, channels: width });
    last = builder.doubleConv(`d${level}`, last, width, width);
  }
  last = builder.conv('final', last, 1, 0, width, channels);
  builder.add({ op: 'tanh', name: 'reconstruction', input: last });
  return { inputSize: 1, nodes: builder.nodes, output: 'reconstruction' };
}

export interface UnetOptions {
  /** @default 256 */
  readonly size?: number;
  /** @default 16 */
  readonly baseWidth?: number;
  /** @default 200 */
  readonly embedding?: number;
  /** @default 3 */
  readonly channels?: 1 | 3;
}

/**
 * SALAD's published `unet`: 32,429,120 trainable values with the defaults
 * (docs/explanation/salad-method.md, section 3).
 */
export function paperUnet(options: UnetOptions = {}): {
  readonly encoder: NetworkDescription;
  readonly decoder: NetworkDescription;
} {
  const { size = 256, baseWidth = 16, embedding = 200, channels = 3 } = options;
  const downs = Math.log2(size / FEATURE_SIZE);
  if (!Number.isInteger(downs)) {
    throw new SaladError('CONFIGURATION_INVALID', `size ${size} is not 4 times a power of two`);
  }
  const shared: SaladNetworkOptions = { inputSize: size, baseWidth, downs, embedding, channels };
  return { encoder: saladEncoder(shared), decoder: saladDecoder(shared) };
}
