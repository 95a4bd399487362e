/**
 * The encoder and decoder of SALAD (docs/explanation/salad-method.md, section 3) with their weights on the tensor
 * backend, and the optimiser step through both.
 */
import * as tf from '@tensorflow/tfjs-core';
import type { NetworkDescription, Weights, WeightTensor } from '../../../network/description.js';
import { initialiseWeights } from '../../../network/initialise.js';
import { saladDecoder, saladEncoder } from '../../../network/salad-networks.js';
import { weightSpecs } from '../../../network/shapes.js';
import { buildTfjs, type TfjsNetwork, tfjsParameters } from '../../../network/tfjs/build.js';
import { readTensor } from '../../backend/read-tensor.js';
import type { Adam } from './adam.js';
import type { SaladConfig } from './config.js';
import { reconstructionLoss } from './losses.js';
import { RANDOM_PURPOSE, randomStream } from './random-streams.js';

/** Losses and embeddings of one step, on the host. */
interface StepResult {
  readonly total: number;
  readonly contrast: number;
  /** NaN where there is no decoder. */
  readonly reconstruction: number;
  /** Training-mode embeddings of the batch, float32 [B, d]. */
  readonly embeddings: Float32Array;
}

/** The encoder network of a configuration, after an average pooling where `reduction` is above 1. */
export function encoderOf(config: SaladConfig, tileSize: number): NetworkDescription {
  const { baseWidth, downs, embedding, channels, reduction } = config;
  const inputSize = tileSize / reduction;
  const encoder = saladEncoder({ inputSize, baseWidth, downs, embedding, channels });
  if (reduction === 1) return encoder;
  const nodes = encoder.nodes.map((node) =>
    'input' in node && node.input === 'input' ? { ...node, input: 'reduced' } : node,
  );
  const pool = {
    op: 'avgPool' as const,
    name: 'reduced',
    input: 'input',
    size: reduction,
    stride: reduction,
    padding: 0,
  };
  return { ...encoder, inputSize: tileSize, nodes: [pool, ...nodes] };
}

/** Initial weights of all networks; every network gets its own seed. */
function initialWeights(networks: readonly NetworkDescription[], seed: number): Map<string, WeightTensor> {
  const weights = new Map<string, WeightTensor>();
  networks.forEach((network, index) => {
    const networkSeed = Math.floor(randomStream(seed, RANDOM_PURPOSE.weights, index).uniform() * 2 ** 32);
    for (const [name, tensor] of initialiseWeights(network, networkSeed)) weights.set(name, tensor);
  });
  return weights;
}

export class TrainableNetwork {
  readonly encoder: NetworkDescription;
  private readonly config: SaladConfig;
  private readonly encoderGraph: TfjsNetwork;
  private readonly decoderGraph: TfjsNetwork | undefined;
  /** Names of the trainable parameters. */
  private readonly trainable: readonly string[];
  /** All parameters, moving statistics included. */
  private parameters: Record<string, tf.Tensor>;

  constructor(config: SaladConfig, tileSize: number, seed: number) {
    this.config = config;
    this.encoder = encoderOf(config, tileSize);
    const { baseWidth, downs, embedding, channels, reduction } = config;
    const networks = [this.encoder];
    this.encoderGraph = buildTfjs(this.encoder, 1, ['normalised']);
    if (config.reconstructionWeight > 0) {
      const inputSize = tileSize / reduction;
      const decoder = saladDecoder({ inputSize, baseWidth, downs, embedding, channels });
      this.decoderGraph = buildTfjs(decoder, embedding);
      networks.push(decoder);
    }
    const specs = networks.flatMap((network) => weightSpecs(network));
    this.trainable = specs.filter((spec) => spec.trainable).map((spec) => spec.name);
    this.parameters = tfjsParameters(initialWeights(networks, seed));
  }

  /**
   * One optimiser step on w_c·L_c + w_r·L_r.
   *
   * @param pixels float32 [B, size, size, 1] in 0..255; not disposed
   * @param decodedCount only samples 0..decodedCount-1 are reconstructed: one view of each tile is enough
   * @param contrast L_c of the embeddings [B, d]; the caller owns its constants
   */
  async step(
    pixels: tf.Tensor4D,
    decodedCount: number,
    contrast: (embeddings: tf.Tensor2D) => tf.Scalar,
    adam: Adam,
    learningRate: number,
  ): Promise<StepResult> {
    const names = this.trainable;
    /** Tensors of the forward pass that are used after it: losses, embeddings and new moving statistics. */
    const kept: Record<string, tf.Tensor> = {};
    const keep = (name: string, tensor: tf.Tensor): void => {
      kept[name] = tf.keep(tf.clone(tensor));
    };
    const { value, grads } = tf.tidy(() =>
      tf.valueAndGrads((...tensors: tf.Tensor[]) => {
        const parameters = { ...this.parameters };
        names.forEach((name, i) => {
          parameters[name] = tensors[i]!;
        });
        return this.computeLoss(pixels, decodedCount, parameters, contrast, keep);
      })(names.map((name) => this.parameters[name]!)),
    );
    adam.beginStep();
    names.forEach((name, i) => {
      const previous = this.parameters[name]!;
      this.parameters[name] = adam.update(name, previous, grads[i]!, learningRate);
      previous.dispose();
    });
    const result = {
      total: (await value.data())[0]!,
      contrast: (await kept['contrast']!.data())[0]!,
      reconstruction: (await kept['reconstruction']?.data())?.[0] ?? Number.NaN,
      embeddings: await readTensor(kept['embeddings']!),
    };
    for (const [name, tensor] of Object.entries(kept)) {
      if (!(name in this.parameters)) continue;
      this.parameters[name]!.dispose();
      this.parameters[name] = tensor;
      delete kept[name];
    }
    tf.dispose([value, grads, kept]);
    return result;
  }

  /** Total loss of a batch. @param keep called with every tensor that is used after the forward pass */
  private computeLoss(
    pixels: tf.Tensor4D,
    decodedCount: number,
    parameters: Record<string, tf.Tensor>,
    contrast: (embeddings: tf.Tensor2D) => tf.Scalar,
    keep: (name: string, tensor: tf.Tensor) => void,
  ): tf.Scalar {
    const { contrastWeight, reconstructionWeight, reconstruction, embedding } = this.config;
    const encoded = this.encoderGraph.forward(pixels, parameters, 'training');
    const z = tf.reshape(encoded.output, [-1, embedding]) as tf.Tensor2D;
    for (const [name, tensor] of Object.entries(encoded.movingStatistics)) keep(name, tensor);
    keep('embeddings', z);
    const contrastLoss = contrast(z);
    keep('contrast', contrastLoss);
    const weighted = tf.mul(contrastLoss, contrastWeight) as tf.Scalar;
    if (this.decoderGraph === undefined) return weighted;
    const takeDecoded = (tensor: tf.Tensor4D): tf.Tensor4D =>
      decodedCount === tensor.shape[0] ? tensor : tf.slice(tensor, [0, 0, 0, 0], [decodedCount, -1, -1, -1]);
    const decoded = this.decoderGraph.forward(takeDecoded(encoded.output), parameters, 'training');
    for (const [name, tensor] of Object.entries(decoded.movingStatistics)) keep(name, tensor);
    const target = takeDecoded(encoded.outputs['normalised']!);
    const loss = reconstructionLoss(decoded.output, target, reconstruction);
    keep('reconstruction', loss);
    return tf.add(weighted, tf.mul(loss, reconstructionWeight));
  }

  /** Computes inference-mode embeddings, float32 [B, d]. @param pixels float32 [B, size, size, 1]; not disposed */
  async embed(pixels: tf.Tensor4D): Promise<Float32Array> {
    const output = tf.tidy(() => this.encoderGraph.forward(pixels, this.parameters, 'inference').output);
    const embeddings = await readTensor(output);
    output.dispose();
    return embeddings;
  }

  /** Copies all weights to the host, moving statistics included. */
  async exportWeights(): Promise<Map<string, WeightTensor>> {
    const weights = new Map<string, WeightTensor>();
    for (const [name, tensor] of Object.entries(this.parameters)) {
      weights.set(name, { shape: tensor.shape, data: await readTensor(tensor) });
    }
    return weights;
  }

  /** Copies the encoder's weights to the host, moving statistics included; a bundle stores these. */
  async exportEncoder(): Promise<Weights> {
    const all = await this.exportWeights();
    return new Map(weightSpecs(this.encoder).map(({ name }) => [name, all.get(name)!]));
  }

  importWeights(weights: Weights): void {
    tf.dispose(this.parameters);
    this.parameters = tfjsParameters(weights);
  }

  dispose(): void {
    tf.dispose(this.parameters);
  }
}
