/** Fits the global whitening of a descriptor network on the fit images and appends it to the network. */
import { SaladError } from '../../errors/index.js';
import { ImageScorer } from '../data/image-scorer.js';
import type { EncoderNetwork, FitContext } from './preset.js';
import { Covariance, type WhiteningOptions, whiteningLayer } from './whitening.js';

/** A network before whitening: its output is the raw descriptor, not of unit length. */
export interface DescriptorNetwork extends EncoderNetwork {
  readonly dimension: number;
}

/**
 * Computes the statistics of all patch descriptors in one pass over the fit images, then appends the whitening as the
 * last layers of the network.
 * @throws SaladError TRAINING_DATA_INVALID where every tile is background; CANCELLED when aborted.
 */
export async function fitWhitening(
  descriptor: DescriptorNetwork,
  context: FitContext,
  options: WhiteningOptions = {},
): Promise<EncoderNetwork> {
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
