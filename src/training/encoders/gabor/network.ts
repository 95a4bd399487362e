/**
 * Builds log-Gabor patch descriptors as network descriptions (docs/explanation/gabor-descriptors.md). The filters are
 * fixed; only the whitening that follows is fitted. Alignment to the mean training image happens before, in the working
 * image (src/imaging/alignment/alignment.ts).
 */
import type { NetworkNode, WeightTensor } from '../../../network/description.js';
import type { DescriptorNetwork } from '../fit-whitening.js';

export interface GaborKernelSpec {
  /** Side in pixels, odd. */
  readonly size: number;
  /** Cycles per pixel. */
  readonly frequency: number;
  /** Standard deviation of the Gaussian envelope in pixels. */
  readonly sigma: number;
  readonly orientations: number;
}

/**
 * Cosine kernels of all orientations, then the sine kernels; each with zero mean (DC removed) and unit L2 norm.
 * @returns weights [size, size, 1, 2 * orientations]
 */
export function gaborKernels(spec: GaborKernelSpec): WeightTensor {
  const { size, frequency, sigma, orientations } = spec;
  const half = (size - 1) / 2;
  const channels = 2 * orientations;
  const data = new Float32Array(size * size * channels);
  for (let channel = 0; channel < channels; channel += 1) {
    const angle = (Math.PI * (channel % orientations)) / orientations;
    const wave = channel < orientations ? Math.cos : Math.sin;
    const kernel: number[] = [];
    for (let y = -half; y <= half; y += 1) {
      for (let x = -half; x <= half; x += 1) {
        const along = x * Math.cos(angle) + y * Math.sin(angle);
        const envelope = Math.exp(-(x * x + y * y) / (2 * sigma * sigma));
        kernel.push(envelope * wave(2 * Math.PI * frequency * along));
      }
    }
    const mean = kernel.reduce((sum, value) => sum + value, 0) / kernel.length;
    const norm = Math.sqrt(kernel.reduce((sum, value) => sum + (value - mean) ** 2, 0));
    kernel.forEach((value, i) => {
      data[i * channels + channel] = (value - mean) / norm;
    });
  }
  return { shape: [size, size, 1, channels], data };
}

/** Kernels of the recipe (docs/explanation/gabor-descriptors.md): 4.5 pixels per cycle, 8 orientations. */
export const RECIPE_KERNELS: GaborKernelSpec = { size: 11, frequency: 0.22, sigma: 2.5, orientations: 8 };

/** Floor of the recipe in ln(magnitude + floor): texture with a magnitude below it has little effect. */
export const RECIPE_FLOOR = 0.02;

/** Collects nodes and weights. Every method adds nodes and returns the name of the last one. */
export class DescriptorGraph {
  readonly nodes: NetworkNode[] = [];
  readonly weights = new Map<string, WeightTensor>();
  readonly #floor: number;

  constructor(floor: number) {
    this.#floor = floor;
  }

  add(node: NetworkNode): string {
    this.nodes.push(node);
    return node.name;
  }

  /** A convolution with fixed kernels [side, side, in, out], without bias and padding. */
  filters(name: string, input: string, kernels: WeightTensor): string {
    const [kernelSize, , inChannels, outChannels] = kernels.shape as readonly [
      number,
      number,
      number,
      number,
    ];
    this.weights.set(`${name}/kernel`, kernels);
    return this.add({
      name,
      op: 'conv',
      input,
      kernelSize,
      stride: 1,
      padding: 0,
      inChannels,
      outChannels,
      bias: false,
      trainable: false,
    });
  }

  averagePool(name: string, input: string, size: number, stride: number, padding = 0): string {
    return this.add({ name, op: 'avgPool', input, size, stride, padding });
  }

  /** Magnitude of the quadrature pair, sqrt(c^2 + s^2 + 1e-8): [h, w, 1] -> [h, w, orientations]. */
  magnitude(prefix: string, input: string, kernels: GaborKernelSpec): string {
    const count = kernels.orientations;
    const conv = this.filters(`${prefix}_gabor`, input, gaborKernels(kernels));
    this.add({ name: `${prefix}_square`, op: 'square', input: conv });
    this.add({
      name: `${prefix}_cos2`,
      op: 'sliceChannels',
      input: `${prefix}_square`,
      offset: 0,
      size: count,
    });
    this.add({
      name: `${prefix}_sin2`,
      op: 'sliceChannels',
      input: `${prefix}_square`,
      offset: count,
      size: count,
    });
    this.add({ name: `${prefix}_energy`, op: 'add', inputs: [`${prefix}_cos2`, `${prefix}_sin2`] });
    return this.add({ name: `${prefix}_magnitude`, op: 'sqrt', input: `${prefix}_energy`, epsilon: 1e-8 });
  }

  /** ln(x + floor), shifted by a constant so that later differences of squares keep their precision in float32. */
  centredLog(prefix: string, input: string): string {
    this.add({ name: `${prefix}_log`, op: 'log', input, epsilon: this.#floor });
    return this.add({ name: `${prefix}_centred`, op: 'affine', input: `${prefix}_log`, scale: 1, shift: 2 });
  }

  /** Standard deviation from two pooled maps: sqrt(max(mean(x^2) - mean(x)^2, 0) + 1e-4). */
  deviation(prefix: string, mean: string, meanOfSquares: string): string {
    this.add({ name: `${prefix}_mean2`, op: 'square', input: mean });
    this.add({ name: `${prefix}_difference`, op: 'subtract', inputs: [meanOfSquares, `${prefix}_mean2`] });
    this.add({ name: `${prefix}_variance`, op: 'clip', input: `${prefix}_difference`, low: 0, high: 1e6 });
    return this.add({ name: `${prefix}_std`, op: 'sqrt', input: `${prefix}_variance`, epsilon: 1e-4 });
  }

  /** Mean and standard deviation of the grey values of each cell: [cells, cells, 2]. */
  intensity(input: string, size: number, stride: number, padding: number): string {
    const mean = this.averagePool('intensity_mean', input, size, stride, padding);
    this.add({ name: 'intensity_square', op: 'square', input });
    const squares = this.averagePool('intensity_squares', 'intensity_square', size, stride, padding);
    const std = this.deviation('intensity', mean, squares);
    return this.add({ name: 'intensity', op: 'concat', inputs: [mean, std] });
  }

  /** Mean and standard deviation of the map over windows of cells, one window per patch: [patches, patches, 2 * channels]. */
  descriptor(map: string, size: number, stride: number, prefix = ''): string {
    const mean = this.averagePool(`${prefix}patch_mean`, map, size, stride);
    const square = this.add({ name: `${prefix}map_square`, op: 'square', input: map });
    const squares = this.averagePool(`${prefix}patch_squares`, square, size, stride);
    const std = this.deviation(`${prefix}patch`, mean, squares);
    return this.add({ name: `${prefix}descriptor`, op: 'concat', inputs: [mean, std] });
  }
}

export interface GaborOptions {
  /** Multiple of the patch stride, in pixels. */
  readonly workingSize: number;
  readonly levels: number;
  /** Side of a cell of the map in pixels: a power of two. */
  readonly cell: number;
  /** Side of a patch in cells. */
  readonly window: number;
  /** Cells from one patch to the next. */
  readonly stride: number;
  /** Added to a magnitude before its logarithm. */
  readonly floor: number;
}

/** The recipe of docs/explanation/gabor-descriptors.md: cells of 8 pixels, patches of 64 every 32. */
export const RECIPE_GABOR: Omit<GaborOptions, 'workingSize' | 'levels'> = {
  cell: 8,
  window: 8,
  stride: 4,
  floor: RECIPE_FLOOR,
};

/**
 * Adds the log-Gabor map of the whole image: 28x28x42 for all levels at 224. Each level halves the image by 2x2 means;
 * its magnitudes are pooled to cells.
 * @returns the name of the map
 */
export function addGaborMap(
  graph: DescriptorGraph,
  { workingSize, levels, cell }: Pick<GaborOptions, 'workingSize' | 'levels' | 'cell'>,
): string {
  const cells = workingSize / cell;
  const kernelRadius = (RECIPE_KERNELS.size - 1) / 2;
  let image = graph.add({ name: 'level0', op: 'affine', input: 'input', scale: 2 / 255, shift: -1 });
  const maps: string[] = [];
  for (let level = 0; level < levels; level += 1) {
    if (level > 0) image = graph.averagePool(`level${level}`, image, 2, 2);
    const prefix = `l${level}`;
    graph.add({ name: `${prefix}_padded`, op: 'reflectPad', input: image, size: kernelRadius });
    let map = graph.magnitude(prefix, `${prefix}_padded`, RECIPE_KERNELS);
    const cellSide = cell >> level;
    if (cellSide > 1) map = graph.averagePool(`${prefix}_pooled`, map, 2 * cellSide, cellSide, cellSide / 2);
    if (cellSide < 1) {
      const resized = { height: cells, width: cells, alignCorners: false };
      map = graph.add({ name: `${prefix}_resized`, op: 'resizeBilinear', input: map, ...resized });
    }
    maps.push(graph.centredLog(prefix, map));
  }
  maps.push(graph.intensity('level0', 2 * cell, cell, cell / 2));
  graph.add({ name: 'maps', op: 'concat', inputs: maps });
  return graph.averagePool('map', 'maps', 3, 1, 1);
}

/** Channels of the map. */
export function gaborChannels({ levels }: Pick<GaborOptions, 'levels'>): number {
  return levels * RECIPE_KERNELS.orientations + 2;
}

/** Builds the network of preset `gabor`, where the whole image is one tile and a patch is a window of cells of the map. */
export function gaborNetwork(options: GaborOptions): DescriptorNetwork {
  const graph = new DescriptorGraph(options.floor);
  const map = addGaborMap(graph, options);
  const output = graph.descriptor(map, options.window, options.stride);
  return {
    network: { inputSize: options.workingSize, nodes: graph.nodes, output },
    weights: graph.weights,
    dimension: 2 * gaborChannels(options),
  };
}
