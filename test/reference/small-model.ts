/** Small random models and bundles, the same for the same seed: every operation, window, bank and golden batch. */

import type { BundleDraft } from '../../src/bundle/bundle.js';
import type { Manifest } from '../../src/bundle/manifest.js';
import type { EngineModelSource, TileBatch } from '../../src/engines/engine.js';
import { geometryOf } from '../../src/geometry/geometry.js';
import type { ScoringSpec } from '../../src/geometry/specifications.js';
import { type NetworkDescription, networkSchema, type Weights } from '../../src/network/description.js';
import { initialiseWeights } from '../../src/network/initialise.js';
import { type MemoryBank, normaliseRows } from '../../src/scoring/memory-bank.js';
import { createRandom } from '../../src/util/random.js';
import { referencePatches } from './score.js';

const INPUT = {
  workingSize: 36,
  fit: 'stretch',
  intensity: { kind: 'window' },
  orientation: 'upright',
} as const;
const TILING = {
  coreSize: 12,
  haloSize: 6,
  patchesPerSide: 3,
  patchStride: 4,
  patchSize: 8,
  patchOffset: -2,
  minStd: 0,
};
export const SMALL_DIMENSION = 8;

/** Every operation of the description once at least: 24 x 24 pixels to 3 x 3 unit vectors of 8 values. */
export function everyOperation(): NetworkDescription {
  return networkSchema.parse({
    inputSize: 24,
    nodes: [
      { op: 'affine', name: 'scaled', input: 'input', scale: 2 / 255, shift: -1 },
      { op: 'reflectPad', name: 'padded', input: 'scaled', size: 2 },
      {
        op: 'conv',
        name: 'first',
        input: 'padded',
        kernelSize: 5,
        inChannels: 1,
        outChannels: 4,
        bias: true,
      },
      { op: 'batchNorm', name: 'firstNorm', input: 'first', channels: 4 },
      { op: 'leakyRelu', name: 'firstOut', input: 'firstNorm', alpha: 0.1 },
      { op: 'maxPool', name: 'half', input: 'firstOut', size: 2, stride: 2 },
      { op: 'square', name: 'squared', input: 'half' },
      { op: 'sqrt', name: 'magnitude', input: 'squared', epsilon: 0.01 },
      { op: 'log', name: 'logged', input: 'magnitude', epsilon: 0.02 },
      { op: 'avgPool', name: 'smooth', input: 'logged', size: 3, stride: 1, padding: 1 },
      {
        op: 'conv',
        name: 'second',
        input: 'smooth',
        kernelSize: 3,
        padding: 1,
        inChannels: 4,
        outChannels: 4,
        bias: false,
      },
      // Its input is read twice: it cannot be folded.
      { op: 'batchNorm', name: 'secondNorm', input: 'second', channels: 4 },
      { op: 'add', name: 'residual', inputs: ['second', 'secondNorm'] },
      { op: 'resizeBilinear', name: 'small', input: 'half', height: 7, width: 7, alignCorners: false },
      { op: 'resizeBilinear', name: 'large', input: 'small', height: 12, width: 12, alignCorners: true },
      { op: 'convTranspose', name: 'spread', input: 'half', kernelSize: 3, inChannels: 4, outChannels: 3 },
      { op: 'tanh', name: 'bounded', input: 'spread' },
      { op: 'crop', name: 'inner', input: 'bounded', offset: 1, size: 12 },
      {
        op: 'depthwiseConv',
        name: 'depth',
        input: 'half',
        kernelSize: 3,
        padding: 1,
        channels: 4,
        bias: false,
      },
      { op: 'batchNorm', name: 'depthNorm', input: 'depth', channels: 4 },
      { op: 'clip', name: 'relu6', input: 'depthNorm', low: 0, high: 6 },
      // 12 -> 6 with 1 zero before and 2 after; 6 -> 3 with none before and 1 after.
      {
        op: 'depthwiseConv',
        name: 'depthHalf',
        input: 'relu6',
        kernelSize: 5,
        stride: 2,
        padding: 'same',
        channels: 4,
        bias: true,
      },
      {
        op: 'conv',
        name: 'sameHalf',
        input: 'depthHalf',
        kernelSize: 3,
        stride: 2,
        padding: 'same',
        inChannels: 4,
        outChannels: 3,
        bias: true,
      },
      { op: 'resizeBilinear', name: 'wide', input: 'sameHalf', height: 12, width: 12, alignCorners: false },
      { op: 'concat', name: 'joined', inputs: ['residual', 'large', 'inner', 'wide'] },
      { op: 'sliceChannels', name: 'front', input: 'joined', offset: 0, size: 5 },
      { op: 'sliceChannels', name: 'back', input: 'joined', offset: 9, size: 5 },
      { op: 'multiply', name: 'product', inputs: ['front', 'back'] },
      { op: 'subtract', name: 'difference', inputs: ['front', 'product'] },
      {
        op: 'conv',
        name: 'strided',
        input: 'difference',
        kernelSize: 4,
        stride: 4,
        inChannels: 5,
        outChannels: SMALL_DIMENSION,
        bias: true,
      },
      { op: 'clip', name: 'clipped', input: 'strided', low: -3, high: 3 },
      { op: 'l2Normalize', name: 'embedding', input: 'clipped' },
    ],
    output: 'embedding',
  });
}

/** PyTorch's first weights, with batch norms that do something. */
export function livelyWeights(network: NetworkDescription, seed: number): Weights {
  const weights = initialiseWeights(network, seed);
  const random = createRandom(seed + 1);
  for (const [name, { data }] of weights) {
    const low = /\/(gamma|variance)$/.test(name) ? 0.5 : /\/(beta|mean)$/.test(name) ? -0.5 : undefined;
    if (low === undefined) continue;
    for (let index = 0; index < data.length; index++) data[index] = low + random();
  }
  return weights;
}

/** Unit rows spread over the grid: every cell holds at least `perCell`. */
export function randomBank(grid: number, perCell: number, dimension: number, seed: number): MemoryBank {
  const random = createRandom(seed);
  const rows = grid * grid * perCell;
  const positions = new Int32Array(rows * 2);
  for (let row = 0; row < rows; row++) {
    const cell = row % (grid * grid);
    positions.set([Math.floor(cell / grid), cell % grid], 2 * row);
  }
  const prototypes = Float32Array.from({ length: rows * dimension }, () => random() - 0.5);
  return {
    rows,
    dimension,
    prototypes: normaliseRows(prototypes, dimension),
    positions,
    sources: new Int32Array(rows),
  };
}

export const SMALL_SCORING: ScoringSpec = {
  distance: 'angular',
  form: 'mean',
  neighbourCount: 3,
  temperature: 0.1,
  searchRadius: 1,
  aggregate: { topFraction: 0.1, margin: 1 },
};

export function smallSource(
  seed: number,
  scoring: Partial<ScoringSpec> = {},
): EngineModelSource & { readonly search: NonNullable<EngineModelSource['search']> } {
  const network = everyOperation();
  const geometry = geometryOf(INPUT, TILING);
  const bank = randomBank(geometry.patchGrid, 4, SMALL_DIMENSION, seed + 2);
  return {
    network,
    weights: livelyWeights(network, seed),
    geometry,
    search: { bank, scoring: { ...SMALL_SCORING, ...scoring } },
  };
}

/** Random samples at tile positions that go round the grid. */
export function randomTiles(source: EngineModelSource, count: number, seed: number): TileBatch {
  const random = createRandom(seed);
  const { tilePixels, tileRows, tileColumns } = source.geometry;
  const positions = new Int32Array(2 * count);
  for (let tile = 0; tile < count; tile++) {
    positions.set([Math.floor(tile / tileColumns) % tileRows, tile % tileColumns], 2 * tile);
  }
  const pixels = Uint8Array.from({ length: count * tilePixels }, () => Math.floor(random() * 256));
  return { count, pixels, positions };
}

/** A valid bundle before it is written; golden scores by the float64 reference. */
export function smallDraft(seed: number): BundleDraft & { readonly manifest: Omit<Manifest, 'files'> } {
  const source = smallSource(seed);
  const tiles = randomTiles(source, 4, seed + 3);
  const cells = source.geometry.patchGrid ** 2;
  return {
    manifest: {
      schemaVersion: 1,
      bank: { rows: source.search.bank.rows, dimension: SMALL_DIMENSION },
      name: 'small',
      version: 1,
      description: 'Random weights for tests.',
      input: INPUT,
      tiling: TILING,
      network: source.network,
      scoring: SMALL_SCORING,
      calibration: {
        patchMedian: Array<number>(cells).fill(0.3),
        patchMad: Array<number>(cells).fill(0.05),
        patchZQuantiles: [-2, -1, 0, 1, 2],
        imageScores: Array.from({ length: 19 }, (_, i) => 0.1 * i),
      },
      training: {
        preset: 'random',
        seed,
        engine: 'none',
        saladServe: '0.1.0',
        command: 'test',
        images: { fit: 1, validation: 1 },
        dataSha256: '0'.repeat(64),
        sourceImages: ['a.png'],
        notes: [],
      },
      goldenTolerance: 1e-4,
    },
    weights: source.weights,
    bank: source.search.bank,
    golden: {
      pixels: tiles.pixels,
      positions: tiles.positions,
      scores: Float32Array.from(referencePatches(source, tiles), ({ score }) => score),
    },
    modelCard: '# small\n',
  };
}
