/** The models for measuring engines: two shipped bundles and two learned encoders. */
import { join } from 'node:path';
import { readBundle } from '../../src/bundle/bundle.js';
import type { EngineModelSource } from '../../src/engines/engine.js';
import { geometryOf } from '../../src/geometry/geometry.js';
import type { ScoringSpec } from '../../src/geometry/specifications.js';
import type { NetworkDescription } from '../../src/network/description.js';
import { initialiseWeights } from '../../src/network/initialise.js';
import type { Precision } from '../../src/network/precision.js';
import { saladEncoder } from '../../src/network/salad-networks.js';
import { inferShapes } from '../../src/network/shapes.js';
import { normaliseRows } from '../../src/scoring/memory-bank.js';
import { saladPreset } from '../../src/training/encoders/salad/named-configurations.js';
import { encoderOf } from '../../src/training/encoders/salad/trainable-network.js';
import { shippedModels } from '../../src/util/package-root.js';
import { createRandom } from '../../src/util/random.js';

/**
 * `salad` is the encoder of the preset; `salad64` is a larger one that consists almost only of convolutions (64 x 64
 * pixels, 16 to 256 channels, D = 128). Both have initial weights: the cost does not depend on the weights.
 */
export const SOURCE_NAMES = ['phantom', 'chest-pediatric', 'salad', 'salad64'] as const;
export type SourceName = (typeof SOURCE_NAMES)[number];

/** A bundle as `FOLDER/NAME/VERSION`. */
export type BundleFolder = `${string}/${number}`;

/** No bank, the bank of the bundle (`salad` has none), or a number of random prototypes, searched like the own bank. */
export type BankChoice = 'none' | 'own' | number;

export async function benchSource(
  name: SourceName | BundleFolder,
  bank: BankChoice,
  precision: Precision = 'float32',
): Promise<EngineModelSource> {
  const { search, ...float32 } = await loadSource(name);
  const encoder = { ...float32, bfloat16: precision === 'bfloat16' };
  if (bank === 'none') return encoder;
  if (bank === 'own') {
    if (search === undefined) throw new Error(`${name} has no memory bank`);
    return { ...encoder, search };
  }
  return { ...encoder, search: randomSearch(encoder, bank, search?.scoring) };
}

async function loadSource(name: SourceName | BundleFolder): Promise<EngineModelSource> {
  if (name === 'salad64') return salad64();
  if (name !== 'salad') {
    const directory = name.includes('/') ? name : join(shippedModels(), name, '1');
    const { network, weights, geometry, search } = await readBundle(directory);
    return { network, weights, geometry, search };
  }
  const { input, tiling, config } = saladPreset('salad');
  const geometry = geometryOf(input, tiling);
  const network = encoderOf(config, geometry.tileHeight);
  return { network, weights: initialiseWeights(network, 1), geometry };
}

export function salad64Network(): NetworkDescription {
  return saladEncoder({ inputSize: 64, baseWidth: 16, downs: 4, embedding: 128 });
}

function salad64(): EngineModelSource {
  const network = salad64Network();
  const input = {
    workingSize: 256,
    fit: 'stretch',
    intensity: { kind: 'window' },
    orientation: 'none',
  } as const;
  const geometry = geometryOf(input, {
    coreSize: 32,
    haloSize: 16,
    patchesPerSide: 1,
    patchStride: 32,
    patchSize: 64,
    patchOffset: -16,
    minStd: 0,
  });
  return { network, weights: initialiseWeights(network, 1), geometry };
}

/** A bank of random prototypes. Without `scoring` the whole bank is searched, without a search window. */
function randomSearch(
  { network, geometry }: EngineModelSource,
  rows: number,
  scoring: ScoringSpec = GLOBAL_SEARCH,
): NonNullable<EngineModelSource['search']> {
  const dimension = inferShapes(network).get(network.output)!.channels;
  const random = createRandom(rows);
  const values = Float32Array.from({ length: rows * dimension }, () => random() - 0.5);
  const { patchGrid } = geometry;
  const positions = Int32Array.from({ length: 2 * rows }, (_, at) => {
    const cell = Math.floor(at / 2) % patchGrid ** 2;
    return at % 2 === 0 ? Math.floor(cell / patchGrid) : cell % patchGrid;
  });
  return {
    bank: {
      rows,
      dimension,
      prototypes: normaliseRows(values, dimension),
      positions,
      sources: new Int32Array(rows),
    },
    scoring,
  };
}

const GLOBAL_SEARCH: ScoringSpec = {
  distance: 'angular',
  form: 'mean',
  neighbourCount: 5,
  temperature: 0.1,
  searchRadius: null,
  aggregate: { topFraction: 0.1, margin: 0 },
};
