/**
 * How round and bright a place is: the smaller principal curvature of the smoothed image, turned so that a bright
 * bump is positive. It is high on a nodule and nearly nothing on vessels, ribs and borders, which bend one way only.
 */
import type { WeightTensor } from '../../../network/description.js';
import type { DescriptorGraph } from './network.js';

export interface BlobSpec {
  /** Side of the kernels in pixels of the image they are run on, odd. */
  readonly size: number;
  /** Standard deviations of the smoothing: a disc answers most where its radius is 1.4 times one of them. */
  readonly sigmas: readonly number[];
  /** Brings what normal images have to the spread of the other channels; the whitening drowns what is far smaller. */
  readonly gain: number;
}

/** Gaussian second derivatives at one offset, times sigma squared: curvature in x, in y, and across. */
function secondDerivatives(x: number, y: number, sigma: number): [number, number, number] {
  const s2 = sigma * sigma;
  const gaussian = Math.exp(-(x * x + y * y) / (2 * s2)) / (2 * Math.PI * s2);
  return [(x * x) / s2 - 1, (y * y) / s2 - 1, (x * y) / s2].map((each) => each * gaussian) as [
    number,
    number,
    number,
  ];
}

/**
 * Per sigma the mean curvature (bright bumps positive), then per sigma half the difference of the curvatures in x and
 * y, then the mixed one. All answer nothing on flat ground.
 * @returns weights [size, size, 1, 3 * sigmas].
 */
export function curvatureKernels({ size, sigmas, gain }: BlobSpec): WeightTensor {
  const half = (size - 1) / 2;
  const channels = 3 * sigmas.length;
  const data = new Float32Array(size * size * channels);
  sigmas.forEach((sigma, index) => {
    const values = Array.from({ length: size * size }, (_, i) => {
      const [xx, yy, xy] = secondDerivatives((i % size) - half, Math.floor(i / size) - half, sigma);
      return [-(xx + yy) / 2, (xx - yy) / 2, xy] as const;
    });
    for (const part of [0, 1, 2] as const) {
      const mean = values.reduce((sum, each) => sum + each[part], 0) / values.length;
      values.forEach((each, i) => {
        data[i * channels + part * sigmas.length + index] = gain * (each[part] - mean);
      });
    }
  });
  return { shape: [size, size, 1, channels], data };
}

/** Smaller principal curvature per pixel, 0 where it is negative: [h, w, 1] -> [h - size + 1, w - size + 1, sigmas]. */
export function roundness(graph: DescriptorGraph, prefix: string, input: string, spec: BlobSpec): string {
  const count = spec.sigmas.length;
  const curvature = graph.filters(`${prefix}_curvature`, input, curvatureKernels(spec));
  const part = (name: string, of: string, index: number): string =>
    graph.add({
      name: `${prefix}_${name}`,
      op: 'sliceChannels',
      input: of,
      offset: index * count,
      size: count,
    });
  const bend = part('bend', curvature, 0);
  const squares = graph.add({ name: `${curvature}2`, op: 'square', input: curvature });
  const inputs = [part('stretch2', squares, 1), part('twist2', squares, 2)] as [string, string];
  const spread2 = graph.add({ name: `${prefix}_spread2`, op: 'add', inputs });
  const spread = graph.add({ name: `${prefix}_spread`, op: 'sqrt', input: spread2, epsilon: 1e-4 });
  const lower = graph.add({ name: `${prefix}_lower`, op: 'subtract', inputs: [bend, spread] });
  return graph.add({ name: `${prefix}_round`, op: 'clip', input: lower, low: 0, high: 1e6 });
}
