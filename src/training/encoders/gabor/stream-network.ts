/** Builds the streamable descriptor network: log-Gabor magnitudes and round spots of one tile, from its pixels alone. */
import type { WeightTensor } from '../../../network/description.js';
import type { DescriptorNetwork } from '../fit-whitening.js';
import { addRoundness, type BlobSpec } from './blobs.js';
import { DescriptorGraph, type GaborKernelSpec, RECIPE_FLOOR, RECIPE_KERNELS } from './network.js';

/** Side of a cell of the map in pixels. */
const CELL = 8;
/** Cells from one patch to the next. */
const STRIDE = 2;

export interface StreamGaborOptions {
  /** Rows of the tile's core. Patches start every 16 pixels, the first one cell before the core. */
  readonly coreSize: number;
  /** Cores side by side in a tile, under one shared halo. Patches do not depend on it. */
  readonly coresPerTile: number;
  readonly haloSize: number;
  /** Side of a patch in cells of 8 pixels. */
  readonly window: number;
  /** One entry per level. Kernels of higher levels are smaller, so that no level needs more than the halo. */
  readonly kernels: readonly GaborKernelSpec[];
  /** One entry per level from level 1 on, where the image is halved. */
  readonly blobs: readonly BlobSpec[];
  /** Removes the mean of a patch's log magnitudes and its mean grey level, so that gain and offset have no effect. */
  readonly gainInvariant: boolean;
}

/** A halo of 24 pixels on a core of 32: the kernels cover 9 of 20 samples at level 2 and 5 of 10 at level 3. */
export const STREAM_GABOR: StreamGaborOptions = {
  coreSize: 32,
  coresPerTile: 1,
  haloSize: 24,
  window: 3,
  kernels: [
    { ...RECIPE_KERNELS },
    { ...RECIPE_KERNELS },
    { ...RECIPE_KERNELS, size: 9, sigma: 2 },
    { ...RECIPE_KERNELS, size: 5, sigma: 1.2 },
  ],
  // Discs with a radius of 4 to 11 pixels.
  blobs: [
    { size: 13, sigmas: [1.5, 2], gain: 32 },
    { size: 9, sigmas: [1.4, 2], gain: 32 },
  ],
  gainInvariant: false,
};

/** A 1x1 kernel that subtracts from channels [0, count) their mean, sets `dropped` to zero and copies the others. */
function meanRemovalKernel(dimension: number, count: number, dropped: readonly number[]): WeightTensor {
  const data = new Float32Array(dimension * dimension);
  for (let i = 0; i < dimension; i += 1) {
    if (!dropped.includes(i)) data[i * dimension + i] = 1;
    if (i >= count) continue;
    for (let k = 0; k < count; k += 1) data[i * dimension + k]! -= 1 / count;
  }
  return { shape: [1, 1, dimension, dimension], data };
}

/**
 * Builds the network of preset `gabor-stream`. It uses valid convolutions, so that a tile is scored from its core and
 * halo alone, while later rows are still being read. Per level, the magnitudes that the patches cover are averaged over
 * cells of 8 pixels. A patch is `window` x `window` cells, every 2 cells (16 pixels), and the maximum roundness in them.
 */
export function gaborStreamNetwork(options: StreamGaborOptions = STREAM_GABOR): DescriptorNetwork {
  const graph = new DescriptorGraph(RECIPE_FLOOR);
  const { coreSize, coresPerTile, haloSize, window } = options;
  const coreColumns = coresPerTile * coreSize;
  const overlap = CELL * (window - STRIDE);
  const margin = haloSize - CELL;
  /** Crops the output of a valid convolution at a level to the area that the patches cover. */
  const cropToPatches = (name: string, input: string, level: number, kernelSize: number): string =>
    graph.add({
      name,
      op: 'crop',
      input,
      offset: margin / 2 ** level - (kernelSize - 1) / 2,
      size: (coreSize + overlap) / 2 ** level,
      width: (coreColumns + overlap) / 2 ** level,
    });
  let image = graph.add({ name: 'level0', op: 'affine', input: 'input', scale: 2 / 255, shift: -1 });
  const maps: string[] = [];
  let logChannels = 0;
  options.kernels.forEach((kernels, level) => {
    if (level > 0) image = graph.averagePool(`level${level}`, image, 2, 2);
    const prefix = `l${level}`;
    let map = cropToPatches(`${prefix}_inner`, graph.magnitude(prefix, image, kernels), level, kernels.size);
    const cell = CELL >> level;
    if (cell > 1) map = graph.averagePool(`${prefix}_pooled`, map, cell, cell);
    maps.push(graph.centredLog(prefix, map));
    logChannels += kernels.orientations;
  });
  maps.push(graph.intensity(cropToPatches('inner', 'level0', 0, 1), CELL, CELL, 0));
  const map = graph.add({ name: 'map', op: 'concat', inputs: maps });
  let texture = graph.descriptor(map, window, STRIDE);
  const channels = 2 * (logChannels + 2);
  if (options.gainInvariant) {
    texture = graph.filters('gain_removed', texture, meanRemovalKernel(channels, logChannels, [logChannels]));
  }
  const blobs = options.blobs.map((spec, index) => {
    const level = index + 1;
    const prefix = `b${level}`;
    const roundness = addRoundness(graph, prefix, `level${level}`, spec);
    const input = cropToPatches(`${prefix}_inner`, roundness, level, spec.size);
    const [size, stride] = [(window * CELL) / 2 ** level, (STRIDE * CELL) / 2 ** level];
    return graph.add({ name: `${prefix}_roundest`, op: 'maxPool', input, size, stride });
  });
  const output = graph.add({ name: 'patches', op: 'concat', inputs: [texture, ...blobs] });
  return {
    network: {
      inputSize: coreSize + 2 * haloSize,
      inputWidth: coreColumns + 2 * haloSize,
      nodes: graph.nodes,
      output,
    },
    weights: graph.weights,
    dimension: channels + options.blobs.reduce((sum, { sigmas }) => sum + sigmas.length, 0),
  };
}
