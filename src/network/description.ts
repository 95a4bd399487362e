/**
 * The description of an encoder, from which tfjs graphs (training, tfjs engines) and ONNX bytes (onnx and openvino
 * engines, export) are built: a directed acyclic graph of named nodes in topological order.
 *
 * Tensors are NHWC float32 [batch, height, width, channels]. The implicit first tensor is `input`:
 * the tile's u8 samples [batch, inputSize, inputWidth, 1] as float32 in 0..255; normalisation is part of the graph.
 */
import { z } from 'zod';

const name = z.string().regex(/^[a-z][a-zA-Z0-9_]*$/);
const unary = { name, input: name };
const padding = z.int().min(0);
/**
 * Zero padding of a convolution: so many samples on every side, or `same` as TensorFlow defines it: the output has
 * ceil(size / stride) samples a side; of an odd number of padded samples the smaller half comes before.
 */
const convolutionPadding = z.union([padding, z.literal('same')]);

export const nodeSchema = z.discriminatedUnion('op', [
  /** y = scale * x + shift, the same for every element. */
  z.strictObject({ ...unary, op: z.literal('affine'), scale: z.number(), shift: z.number() }),
  /** Clamp to [low, high]. */
  z.strictObject({ ...unary, op: z.literal('clip'), low: z.number(), high: z.number() }),
  /** Reflect padding (the border sample is not repeated) of height and width by `size` on each side. */
  z.strictObject({ ...unary, op: z.literal('reflectPad'), size: padding }),
  /** Weights `<name>/kernel` [kh, kw, in, out] and, where bias, `<name>/bias` [out]. Zero padding. */
  z.strictObject({
    ...unary,
    op: z.literal('conv'),
    kernelSize: z.int().min(1),
    stride: z.int().min(1).default(1),
    padding: convolutionPadding.default(0),
    inChannels: z.int().min(1),
    outChannels: z.int().min(1),
    bias: z.boolean(),
    /** A fixed filter bank: stored in the bundle, never trained. */
    trainable: z.boolean().default(true),
  }),
  /** One filter a channel: weights `<name>/kernel` [kh, kw, channels, 1] and, where bias, `<name>/bias` [channels]. */
  z.strictObject({
    ...unary,
    op: z.literal('depthwiseConv'),
    kernelSize: z.int().min(1),
    stride: z.int().min(1).default(1),
    padding: convolutionPadding.default(0),
    channels: z.int().min(1),
    bias: z.boolean(),
    /** As of `conv`. */
    trainable: z.boolean().default(true),
  }),
  /** Transposed convolution, stride 1, no padding: weights `<name>/kernel` [kh, kw, out, in]. Decoder only. */
  z.strictObject({
    ...unary,
    op: z.literal('convTranspose'),
    kernelSize: z.int().min(1),
    inChannels: z.int().min(1),
    outChannels: z.int().min(1),
  }),
  /** Weights `<name>/{gamma,beta,mean,variance}` [channels]; epsilon 1e-5; folded into the convolution before it. */
  z.strictObject({ ...unary, op: z.literal('batchNorm'), channels: z.int().min(1) }),
  z.strictObject({ ...unary, op: z.literal('leakyRelu'), alpha: z.number() }),
  z.strictObject({ ...unary, op: z.literal('tanh') }),
  z.strictObject({ ...unary, op: z.literal('square') }),
  /** sqrt(x + epsilon). */
  z.strictObject({ ...unary, op: z.literal('sqrt'), epsilon: z.number().min(0) }),
  /** ln(x + epsilon). */
  z.strictObject({ ...unary, op: z.literal('log'), epsilon: z.number().min(0) }),
  /** Zero-padded cells do not count in the mean. */
  z.strictObject({
    ...unary,
    op: z.literal('avgPool'),
    size: z.int().min(1),
    stride: z.int().min(1),
    padding: padding.default(0),
  }),
  z.strictObject({ ...unary, op: z.literal('maxPool'), size: z.int().min(1), stride: z.int().min(1) }),
  /** Bilinear; alignCorners as in docs/explanation/salad-method.md, section 3, else half-pixel centres. */
  z.strictObject({
    ...unary,
    op: z.literal('resizeBilinear'),
    height: z.int().min(1),
    width: z.int().min(1),
    alignCorners: z.boolean(),
  }),
  /** Keep [offset, offset + size) of the height and [offset, offset + width) of the width; width defaults to size. */
  z.strictObject({
    ...unary,
    op: z.literal('crop'),
    offset: z.int().min(0),
    size: z.int().min(1),
    width: z.int().min(1).optional(),
  }),
  z.strictObject({ name, op: z.enum(['add', 'subtract', 'multiply']), inputs: z.tuple([name, name]) }),
  /** Along channels. */
  z.strictObject({ name, op: z.literal('concat'), inputs: z.array(name).min(1) }),
  /** Channels [offset, offset + size). */
  z.strictObject({ ...unary, op: z.literal('sliceChannels'), offset: z.int().min(0), size: z.int().min(1) }),
  /** Unit L2 norm along channels; zero vectors stay zero (epsilon 1e-12 under the root). */
  z.strictObject({ ...unary, op: z.literal('l2Normalize') }),
]);

export const networkSchema = z.strictObject({
  /** Rows of the input in pixels: tiling.coreSize + 2 * tiling.haloSize. */
  inputSize: z.int().min(1),
  /** Columns of the input; defaults to inputSize. */
  inputWidth: z.int().min(1).optional(),
  nodes: z.array(nodeSchema).min(1),
  /** Node whose output is the patch embeddings [batch, patch rows, patch columns, dimension], unit length. */
  output: name,
});

export type NetworkNode = z.infer<typeof nodeSchema>;
/** Nodes that slide filters over their input, with zero padding. */
export type ConvolutionNode = Extract<NetworkNode, { op: 'conv' | 'depthwiseConv' }>;
export type NetworkDescription = z.infer<typeof networkSchema>;

/** Row-major float32 tensor, as stored in a bundle. */
export interface WeightTensor {
  readonly shape: readonly number[];
  readonly data: Float32Array;
}
export type Weights = ReadonlyMap<string, WeightTensor>;

/** Columns of the input in pixels. */
export function inputWidthOf(network: Pick<NetworkDescription, 'inputSize' | 'inputWidth'>): number {
  return network.inputWidth ?? network.inputSize;
}

export function isConvolution(node: NetworkNode | undefined): node is ConvolutionNode {
  return node?.op === 'conv' || node?.op === 'depthwiseConv';
}

/** Filters of a convolution: channels of its output. */
export function outputChannels(node: ConvolutionNode): number {
  return node.op === 'conv' ? node.outChannels : node.channels;
}

/** Names of the tensors a node reads, in order. */
export function nodeInputs(node: NetworkNode): readonly string[] {
  return 'inputs' in node ? node.inputs : [node.input];
}
