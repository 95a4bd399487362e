/**
 * Detects bright round spots: the smaller principal curvature of the smoothed image, with the sign that makes a bright
 * bump positive. It is high on a nodule and near zero on vessels, ribs and borders, which are curved in one direction
 * only.
 */
import type { WeightTensor } from '../../../network/description.js';
import type { DescriptorGraph } from './network.js';

export interface BlobSpec {
  /** Side of the kernels in pixels of the image they are applied to, odd. */
  readonly size: number;
  /** Standard deviations of the smoothing. The response to a disc is largest where its radius is 1.4 sigma. */
  readonly sigmas: readonly number[];
  /** Scales the values to the spread of the other channels on normal images; whitening suppresses much smaller ones. */
  readonly gain: number;
}

/** Gaussian second derivatives at one offset, times sigma squared: xx, yy and xy. */
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
 * Kernels of three kinds, each for every sigma: the mean curvature (positive for bright bumps), half the difference of
 * the curvatures in x and y, and the mixed derivative. All give zero on a constant image.
 * @returns weights [size, size, 1, 3 * sigmas]
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
    for (const kind of [0, 1, 2] as const) {
      const mean = values.reduce((sum, each) => sum + each[kind], 0) / values.length;
      values.forEach((each, i) => {
        data[i * channels + kind * sigmas.length + index] = gain * (each[kind] - mean);
      });
    }
  });
  return { shape: [size, size, 1, channels], data };
}

/**
 * Adds the smaller principal curvature per pixel, 0 where it is negative. With c the mean curvature, d half the
 * difference and m the mixed derivative, it is c - sqrt(d² + m² + 1e-4).
 * @returns the output node: [h, w, 1] -> [h - size + 1, w - size + 1, sigmas]
 */
export function addRoundness(graph: DescriptorGraph, prefix: string, input: string, spec: BlobSpec): string {
  const count = spec.sigmas.length;
  const curvature = graph.filters(`${prefix}_curvature`, input, curvatureKernels(spec));
  const slice = (name: string, from: string, kind: number): string =>
    graph.add({
      name: `${prefix}_${name}`,
      op: 'sliceChannels',
      input: from,
      offset: kind * count,
      size: count,
    });
  // Node names are part of bundles.
  const mean = slice('bend', curvature, 0);
  const squares = graph.add({ name: `${curvature}2`, op: 'square', input: curvature });
  const inputs = [slice('stretch2', squares, 1), slice('twist2', squares, 2)] as [string, string];
  const sum = graph.add({ name: `${prefix}_spread2`, op: 'add', inputs });
  const root = graph.add({ name: `${prefix}_spread`, op: 'sqrt', input: sum, epsilon: 1e-4 });
  const smaller = graph.add({ name: `${prefix}_lower`, op: 'subtract', inputs: [mean, root] });
  return graph.add({ name: `${prefix}_round`, op: 'clip', input: smaller, low: 0, high: 1e6 });
}
