/** Fits the global whitening of a descriptor network on the fit images and appends it. */
import { SaladError } from '../../errors/index.js';
import type { NetworkDescription, Weights } from '../../network/description.js';
import { ImageScorer } from '../data/image-scorer.js';
import type { Encoder, FitContext } from './preset.js';
import { Covariance, type WhiteningOptions, whiteningLayer } from './whitening.js';

/** A descriptor network before whitening: `output` is the raw descriptor, not of unit length. */
export interface DescriptorNetwork {
  readonly network: NetworkDescription;
  readonly weights: Weights;
  readonly dimension: number;
}

/**
 * One pass over the fit images for the statistics, then the whitening becomes the last layers of the network.
 * @throws SaladError TRAINING_DATA_INVALID where every tile is background; CANCELLED when aborted.
 */
export async function whitened(
  descriptor: DescriptorNetwork,
  context: FitContext,
  options: WhiteningOptions = {},
): Promise<Encoder> {
  const { geometry, images, signal, onProgress } = context;
  const scorer = await ImageScorer.open(context.engine, { ...descriptor, geometry });
  const statistics = new Covariance(descriptor.dimension);
  try {
    for (const [index, { image }] of images.entries()) {
      if (signal.aborted) throw new SaladError('CANCELLED', 'training was interrupted');
      const { embeddings, scored } = await scorer.run(image);
      for (let patch = 0; patch < scored.length; patch += 1) {
        if (!scored[patch]) continue;
        statistics.add(embeddings.subarray(patch * descriptor.dimension, (patch + 1) * descriptor.dimension));
      }
      onProgress({ stage: 'whitening', step: index + 1, total: images.length });
    }
  } finally {
    await scorer.dispose();
  }
  if (statistics.count < 2) {
    throw new SaladError('TRAINING_DATA_INVALID', 'no patch to fit on: every tile is background');
  }
  const layer = whiteningLayer(statistics, descriptor.network.output, options);
  return {
    network: {
      ...descriptor.network,
      nodes: [...descriptor.network.nodes, ...layer.nodes],
      output: options.output ?? 'embedding',
    },
    weights: new Map([...descriptor.weights, ...layer.weights]),
  };
}
