/** Initial weights of a network: PyTorch's distributions, drawn from a seed that gives the same values everywhere. */
import { createRandom } from '../util/random.js';
import type { NetworkDescription, Weights, WeightTensor } from './description.js';
import { weightSpecs } from './shapes.js';

/**
 * PyTorch's defaults: kernels and biases U(-1/sqrt(fanIn), 1/sqrt(fanIn)); batch norm gamma 1, beta 0,
 * moving mean 0, moving variance 1. Tensors are drawn in node order from one generator.
 */
export function initialiseWeights(network: NetworkDescription, seed: number): Weights {
  const random = createRandom(seed);
  const weights = new Map<string, WeightTensor>();
  for (const { name, role, shape, fanIn } of weightSpecs(network)) {
    const data = new Float32Array(shape.reduce((product, size) => product * size, 1));
    if (role === 'kernel' || role === 'bias') {
      const bound = 1 / Math.sqrt(fanIn);
      for (let index = 0; index < data.length; index++) data[index] = (2 * random() - 1) * bound;
    } else if (role === 'gamma' || role === 'variance') {
      data.fill(1);
    }
    weights.set(name, { shape, data });
  }
  return weights;
}
