/**
 * Fits one whitening for each group of descriptor channels and appends them to the network: groups of very different
 * number and scale count the same (docs/explanation/pretrained-encoder.md).
 */
import { SaladError } from '../../errors/index.js';
import { columnOf, rowOf } from '../../geometry/cells.js';
import type { NetworkNode, Weights, WeightTensor } from '../../network/description.js';
import { chooseBalanced } from '../../util/hash-random.js';
import { createRandom } from '../../util/random.js';
import { ImageScorer } from '../data/image-scorer.js';
import type { EncoderNetwork, FitContext } from './preset.js';
import { Covariance, type WhiteningOptions, whiteningLayer } from './whitening.js';

/** Channels that are whitened together. */
export interface DescriptorGroup {
  readonly name: string;
  /** Node that computes them: [patches, patches, dimension]. */
  readonly input: string;
  readonly dimension: number;
}

/** A network before whitening: it has no output yet. */
export interface GroupedDescriptor {
  readonly inputSize: number;
  readonly nodes: readonly NetworkNode[];
  readonly weights: Weights;
  readonly groups: readonly DescriptorGroup[];
}

export interface GroupWhitening extends Pick<WhiteningOptions, 'shrinkage' | 'standardised'> {
  /** Principal directions kept of each group. */
  readonly components: readonly number[];
  /** Most images that the statistics are taken from, in equal numbers from every view. */
  readonly imagesMax: number;
  /** Every so many rows and columns of the patch grid are used. */
  readonly patchStep: number;
}

/** Collects the statistics of every group. @throws SaladError TRAINING_DATA_INVALID without a patch; CANCELLED */
async function collectStatistics(
  descriptor: GroupedDescriptor,
  context: FitContext,
  { imagesMax, patchStep }: GroupWhitening,
): Promise<readonly Covariance[]> {
  const { groups, inputSize, weights } = descriptor;
  const { geometry, images, signal, onProgress } = context;
  const joined: NetworkNode = { name: 'groups', op: 'concat', inputs: groups.map(({ input }) => input) };
  const network = { inputSize, nodes: [...descriptor.nodes, joined], output: joined.name };
  const views = images.map(({ view = '' }) => view);
  const chosen = chooseBalanced(views, imagesMax, createRandom(context.seed));
  const statistics = groups.map(({ dimension }) => new Covariance(dimension));
  const scorer = await ImageScorer.open(context.engine, { network, weights, geometry });
  try {
    for (const [step, index] of chosen.entries()) {
      if (signal.aborted) throw new SaladError('CANCELLED', 'training was interrupted');
      const { embeddings, scored } = await scorer.run(images[index]!.image);
      for (let patch = 0; patch < scored.length; patch += 1) {
        const [row, column] = [rowOf(patch, geometry.patchGrid), columnOf(patch, geometry.patchGrid)];
        if (!scored[patch] || row % patchStep !== 0 || column % patchStep !== 0) continue;
        let from = patch * scorer.dimension;
        groups.forEach(({ dimension }, group) => {
          statistics[group]!.add(embeddings.subarray(from, from + dimension));
          from += dimension;
        });
      }
      onProgress({ stage: 'whitening', step: step + 1, total: chosen.length });
    }
  } finally {
    await scorer.dispose();
  }
  if (statistics[0]!.count < 2) {
    throw new SaladError('TRAINING_DATA_INVALID', 'no patch to fit on: every tile is background');
  }
  return statistics;
}

/**
 * Appends the whitenings. Every group becomes a unit vector; the embedding holds all of them, scaled to unit length.
 * @throws SaladError TRAINING_DATA_INVALID where every tile is background; CANCELLED when aborted.
 */
export async function fitGroupedWhitening(
  descriptor: GroupedDescriptor,
  context: FitContext,
  options: GroupWhitening,
): Promise<EncoderNetwork> {
  const { groups, inputSize } = descriptor;
  const statistics = await collectStatistics(descriptor, context, options);
  const nodes: NetworkNode[] = [...descriptor.nodes];
  const weights = new Map<string, WeightTensor>(descriptor.weights);
  const scale = 1 / Math.sqrt(groups.length);
  const scaled = groups.map(({ name, input }, group) => {
    const components = options.components[group]!;
    const names = { layer: `${name}_whiten`, output: `${name}_unit` };
    const layer = whiteningLayer(statistics[group]!, input, { ...options, ...names, components });
    nodes.push(...layer.nodes);
    for (const [weight, tensor] of layer.weights) weights.set(weight, tensor);
    nodes.push({ name: `${name}_scaled`, op: 'affine', input: names.output, scale, shift: 0 });
    return `${name}_scaled`;
  });
  nodes.push({ name: 'embedding', op: 'concat', inputs: scaled });
  return { network: { inputSize, nodes, output: 'embedding' }, weights };
}
