/** The streamable descriptor network: log-Gabor energies and blobs of one tile, without the rest of the image. */
import type { WeightTensor } from '../../../network/description.js';
import type { DescriptorNetwork } from '../whitened.js';
import { type BlobSpec, roundness } from './blobs.js';
import { DescriptorGraph, type GaborKernelSpec, RECIPE_FLOOR, RECIPE_KERNELS } from './network.js';

/** Side of a cell of the map in pixels. */
const CELL = 8;
/** Cells from one patch to the next. */
const STRIDE = 2;

export interface StreamGaborOptions {
  /** Rows of the tile's core; patches lie every 16 pixels, the first one cell before the core. */
  readonly coreSize: number;
  /** The tile's core is this many times as wide as high: neighbours share their halo. Patches do not depend on it. */
  readonly coresPerTile: number;
  readonly haloSize: number;
  /** A patch is this many cells of 8 pixels wide. */
  readonly window: number;
  /** One entry per level; kernels shrink with the level so that no level looks beyond the halo. */
  readonly kernels: readonly GaborKernelSpec[];
  /** One entry per level from level 1 on, the image halved. */
  readonly blobs: readonly BlobSpec[];
  /** Removes the mean of a patch's log magnitudes, and the mean grey level: gain and offset do not matter to them. */
  readonly gainInvariant: boolean;
}

/** 24 pixels of halo on a 32-pixel core: level 2 sees 9 of 20 samples, level 3 5 of 10. */
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
  // Discs of 4 to 11 pixels radius.
  blobs: [
    { size: 13, sigmas: [1.5, 2], gain: 32 },
    { size: 9, sigmas: [1.4, 2], gain: 32 },
  ],
  gainInvariant: false,
};

/** Subtracts from channels [0, count) their common mean; the other channels pass, `dropped` becomes zero. */
function meanRemoval(dimension: number, count: number, dropped: readonly number[]): WeightTensor {
  const data = new Float32Array(dimension * dimension);
  for (let i = 0; i < dimension; i += 1) {
    if (!dropped.includes(i)) data[i * dimension + i] = 1;
    if (i >= count) continue;
    for (let k = 0; k < count; k += 1) data[i * dimension + k]! -= 1 / count;
  }
  return { shape: [1, 1, dimension, dimension], data };
}

/**
 * Preset `gabor-stream`: a tile is scored from its own haloed pixels alone, by valid convolutions, so tiles can
 * be scored while later rows are still being read. Per level, the magnitudes that cover the patches are averaged over
 * 8-pixel cells; a patch is `window` x `window` cells, every 2 cells (16 pixels), and the roundest spot in them.
 */
export function gaborStreamNetwork(options: StreamGaborOptions = STREAM_GABOR): DescriptorNetwork {
  const graph = new DescriptorGraph(RECIPE_FLOOR);
  const { coreSize, coresPerTile, haloSize, window } = options;
  const coreColumns = coresPerTile * coreSize;
  const reach = CELL * (window - STRIDE);
  const covered = { size: coreSize + reach, width: coreColumns + reach };
  const margin = haloSize - CELL;
  /** What the patches cover of a valid convolution's output at this level. */
  const inner = (name: string, input: string, level: number, kernelSize: number): string =>
    graph.add({
      name,
      op: 'crop',
      input,
      offset: margin / 2 ** level - (kernelSize - 1) / 2,
      size: covered.size / 2 ** level,
      width: covered.width / 2 ** level,
    });
  let image = graph.add({ name: 'level0', op: 'affine', input: 'input', scale: 2 / 255, shift: -1 });
  const maps: string[] = [];
  let logChannels = 0;
  options.kernels.forEach((kernels, level) => {
    if (level > 0) image = graph.averagePool(`level${level}`, image, 2, 2);
    const prefix = `l${level}`;
    let map = inner(`${prefix}_inner`, graph.magnitude(prefix, image, kernels), level, kernels.size);
    const cell = CELL >> level;
    if (cell > 1) map = graph.averagePool(`${prefix}_pooled`, map, cell, cell);
    maps.push(graph.centredLog(prefix, map));
    logChannels += kernels.orientations;
  });
  maps.push(graph.intensity(inner('inner', 'level0', 0, 1), CELL, CELL, 0));
  const map = graph.add({ name: 'map', op: 'concat', inputs: maps });
  let texture = graph.descriptor(map, window, STRIDE);
  const channels = 2 * (logChannels + 2);
  if (options.gainInvariant) {
    texture = graph.filters('gain_removed', texture, meanRemoval(channels, logChannels, [logChannels]));
  }
  const blobs = options.blobs.map((spec, index) => {
    const level = index + 1;
    const prefix = `b${level}`;
    const round = roundness(graph, prefix, `level${level}`, spec);
    const input = inner(`${prefix}_inner`, round, level, spec.size);
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
