/**
 * The search problem of the suite: a memory bank of clustered unit vectors, tiles whose patches are near its
 * prototypes, and an encoder that only copies pixels.
 */
import type { EngineModelSource, SearchOptions, TileBatch } from '../../src/engines/engine.js';
import { geometryOf } from '../../src/geometry/geometry.js';
import { networkSchema } from '../../src/network/description.js';
import { normaliseRows } from '../../src/scoring/memory-bank.js';
import { createRandom } from '../../src/util/random.js';

export const DIMENSION = 128;
export const NEIGHBOURS = 5;
/** Patches per tile. */
export const PATCHES = 4;
/** Number of measured tiles; each is a batch of its own. */
export const TILES = 50;
const CLUSTERS = 1000;
/** Standard deviation of each axis of a prototype around the centre of its cluster. */
const SPREAD = 0.06;
/** Standard deviation of each axis of a query around its prototype. */
const QUERY_SPREAD = 0.04;
/** Side of a patch in pixels: a patch has at least one pixel per axis. */
const SIDE = 12;
/** Grey levels per unit of an axis: nearly all axes of the unit vectors are within 0.45. */
const GAIN = 280;

/** An encoder whose convolution copies the pixels of a patch to the axes of the embedding. */
const NETWORK = networkSchema.parse({
  inputSize: 2 * SIDE,
  nodes: [
    { op: 'affine', name: 'centred', input: 'input', scale: 1 / GAIN, shift: -127.5 / GAIN },
    {
      op: 'conv',
      name: 'copy',
      input: 'centred',
      kernelSize: SIDE,
      stride: SIDE,
      inChannels: 1,
      outChannels: DIMENSION,
      bias: false,
    },
    { op: 'l2Normalize', name: 'embedding', input: 'copy' },
  ],
  output: 'embedding',
});

/** Creates the bank and the encoder; deterministic for a number of rows. */
export function searchProblem(rows: number, options: SearchOptions): EngineModelSource {
  const random = createRandom(rows);
  // Uniform noise of this half-width has the standard deviation 1.
  const noise = (): number => (2 * random() - 1) * Math.sqrt(3);
  const centres = normaliseRows(Float32Array.from({ length: CLUSTERS * DIMENSION }, noise), DIMENSION);
  const prototypes = new Float32Array(rows * DIMENSION);
  for (let row = 0; row < rows; row++) {
    const centre = Math.floor(random() * CLUSTERS) * DIMENSION;
    for (let axis = 0; axis < DIMENSION; axis++) {
      prototypes[row * DIMENSION + axis] = centres[centre + axis]! + SPREAD * noise();
    }
  }
  const kernel = new Float32Array(SIDE * SIDE * DIMENSION);
  for (let axis = 0; axis < DIMENSION; axis++) kernel[axis * DIMENSION + axis] = 1;
  const input = {
    workingSize: 2 * SIDE,
    fit: 'stretch',
    intensity: { kind: 'window' },
    orientation: 'none',
  } as const;
  return {
    network: NETWORK,
    weights: new Map([['copy/kernel', { shape: [SIDE, SIDE, 1, DIMENSION], data: kernel }]]),
    geometry: geometryOf(input, {
      coreSize: 2 * SIDE,
      haloSize: 0,
      patchesPerSide: 2,
      patchStride: SIDE,
      patchSize: SIDE,
      patchOffset: 0,
      minStd: 0,
    }),
    search: {
      bank: {
        rows,
        dimension: DIMENSION,
        prototypes: normaliseRows(prototypes, DIMENSION),
        positions: new Int32Array(2 * rows),
        sources: new Int32Array(rows),
      },
      scoring: {
        distance: 'angular',
        form: 'mean',
        neighbourCount: NEIGHBOURS,
        temperature: 0.1,
        searchRadius: null,
        aggregate: { topFraction: 1, margin: 0 },
      },
      options,
    },
  };
}

/** Creates the query tiles, each a batch: half of the patches are near a prototype, half between two prototypes. */
export function queryTiles({ search }: EngineModelSource): readonly TileBatch[] {
  const { rows, prototypes } = search!.bank;
  const random = createRandom(rows + 1);
  const noise = (): number => (2 * random() - 1) * Math.sqrt(3) * QUERY_SPREAD;
  const pick = (): number => Math.floor(random() * rows) * DIMENSION;
  return Array.from({ length: TILES }, () => {
    const pixels = new Uint8Array(4 * SIDE * SIDE).fill(128);
    for (let patch = 0; patch < PATCHES; patch++) {
      const [row, other] = [pick(), pick()];
      for (let axis = 0; axis < DIMENSION; axis++) {
        const own = prototypes[row + axis]!;
        const value = patch % 2 === 0 ? own + noise() : (own + prototypes[other + axis]!) * Math.SQRT1_2;
        const y = Math.floor(patch / 2) * SIDE + Math.floor(axis / SIDE);
        const x = (patch % 2) * SIDE + (axis % SIDE);
        pixels[y * 2 * SIDE + x] = Math.min(255, Math.max(0, Math.round(127.5 + GAIN * value)));
      }
    }
    return { count: 1, pixels, positions: Int32Array.of(0, 0) };
  });
}
