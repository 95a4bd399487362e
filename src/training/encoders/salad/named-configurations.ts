/** The named SALAD configurations: `salad` and `salad-image` train on a CPU, `paper` is the paper's. */
import { SaladError } from '../../../errors/index.js';
import type { InputSpec, ScoringSpec, TilingSpec } from '../../../geometry/specifications.js';
import type { NetworkDescription } from '../../../network/description.js';
import type { AugmentConfig, SaladConfig } from './config.js';

export const SALAD_PRESET_NAMES = ['salad', 'salad-image', 'paper'] as const;
export type SaladPresetName = (typeof SALAD_PRESET_NAMES)[number];

export interface SaladPreset {
  readonly name: SaladPresetName;
  readonly description: string;
  readonly input: InputSpec;
  readonly tiling: TilingSpec;
  readonly config: SaladConfig;
  readonly scoring: ScoringSpec;
  /** Whether a global whitening follows the trained encoder (docs/explanation/salad-method.md, section 8); not in `paper`. */
  readonly whiten: boolean;
}

const ORIENTATION =
  'frontal: top of the image is cranial, left of the image is the right side of the patient';

/** As in the authors' code: a horizontal flip, nothing else (docs/explanation/salad-method.md, section 2). */
const PAPER_AUGMENT: AugmentConfig = { flip: 0.5, shift: 0, gain: 0, offset: 0, gamma: 0, blur: 0, noise: 0 };

/**
 * docs/explanation/salad-method.md, section 2. The network reads tiles of 64 px at half resolution (`reduction`), where
 * a shift of 6 px is one of 3.
 */
const TILE_AUGMENT: AugmentConfig = {
  flip: 0,
  shift: 6,
  gain: 0.25,
  offset: 0.3,
  gamma: 0.25,
  blur: 0.3,
  noise: 0.05,
};

/** docs/explanation/salad-method.md, sections 1 to 6, value by value. */
const PAPER_CONFIG: SaladConfig = {
  level: 'image',
  baseWidth: 16,
  embedding: 200,
  downs: 6,
  reduction: 1,
  channels: 3,
  tilesPerImage: null,
  rate: 0.1,
  epochsPerRound: 50,
  batchSize: 32,
  learningRate: 1e-4,
  learningRateSchedule: 'constant',
  weightDecay: 1e-6,
  temperature: 0.1,
  momentum: 0.5,
  neighbours: 10,
  contrastWeight: 0.25,
  reconstructionWeight: 1,
  reconstruction: 'l1',
  augment: PAPER_AUGMENT,
  negatives: null,
  warmup: 'memory',
  warmupEpochs: 0,
  initialMemory: 'random',
  selfMaskedEntropy: false,
};

const TILE_CONFIG: SaladConfig = {
  ...PAPER_CONFIG,
  level: 'tile',
  baseWidth: 16,
  embedding: 64,
  downs: 3,
  reduction: 2,
  channels: 1,
  tilesPerImage: 4,
  rate: 0.5,
  epochsPerRound: 1,
  learningRate: 1e-3,
  learningRateSchedule: 'cosine',
  contrastWeight: 1,
  reconstructionWeight: 0.25,
  augment: TILE_AUGMENT,
  warmup: 'two-view',
  warmupEpochs: 2,
  initialMemory: 'embedded',
};

/** docs/explanation/salad-method.md, section 7: mean angular distance to the 100 nearest prototypes of the whole bank. */
const PAPER_SCORING: ScoringSpec = {
  distance: 'angular',
  form: 'mean',
  neighbourCount: 100,
  temperature: 0.1,
  searchRadius: null,
  aggregate: { topFraction: 1, margin: 0 },
};

/** Chord distance to the 5 nearest prototypes within one grid cell; mean of the top 10 % of inner cells. */
const TILE_SCORING: ScoringSpec = {
  distance: 'chord',
  form: 'mean',
  neighbourCount: 5,
  temperature: 0.1,
  searchRadius: 1,
  aggregate: { topFraction: 0.1, margin: 1 },
};

function wholeImageGrids(size: number): { readonly input: InputSpec; readonly tiling: TilingSpec } {
  return {
    input: { workingSize: size, fit: 'pad', intensity: { kind: 'window' }, orientation: ORIENTATION },
    tiling: {
      coreSize: size,
      haloSize: 0,
      patchesPerSide: 1,
      patchStride: size,
      patchSize: size,
      patchOffset: 0,
      minStd: 0,
    },
  };
}

/** 64 px tiles at stride 32: a core of 32 px with a halo of 16, one patch per tile. */
function tileGrids(workingSize: number): { readonly input: InputSpec; readonly tiling: TilingSpec } {
  return {
    input: { workingSize, fit: 'stretch', intensity: { kind: 'window' }, orientation: ORIENTATION },
    tiling: {
      coreSize: 32,
      haloSize: 16,
      patchesPerSide: 1,
      patchStride: 32,
      patchSize: 64,
      patchOffset: -16,
      minStd: 2,
    },
  };
}

const DESCRIPTIONS: Readonly<Record<SaladPresetName, string>> = {
  salad:
    'SALAD on 64 px tiles, streamable: two-view warm-up, then memory rounds with neighbourhoods. Much shorter than ' +
    'the paper, and on tiles, which the paper does not use. Minutes on a CPU.',
  'salad-image':
    "SALAD on whole images, reduced: 64 px, base width 8, five rounds of ten epochs. The paper's objective at a " +
    'size a CPU can train; do not expect the published detection quality.',
  paper:
    "The paper's configuration, as far as its public code shows it: 256 px, width 16, 200 dimensions, 11 rounds of 50 " +
    'epochs. Needs a GPU: 18,700 steps of a 32-million-parameter network for 1,349 images.',
};

function configOf(name: SaladPresetName, workingSize: number): SaladConfig {
  const downs = Math.round(Math.log2(workingSize / 4));
  switch (name) {
    case 'salad':
      return TILE_CONFIG;
    case 'salad-image':
      return {
        ...PAPER_CONFIG,
        baseWidth: 8,
        embedding: 128,
        downs,
        channels: 1,
        rate: 0.25,
        epochsPerRound: 10,
      };
    case 'paper':
      return { ...PAPER_CONFIG, downs };
  }
}

const DEFAULT_SIZE: Readonly<Record<SaladPresetName, number>> = {
  salad: 224,
  'salad-image': 64,
  paper: 256,
};

/**
 * Finds a preset by name.
 *
 * @param workingSize side of the working image in pixels; default: the preset's own
 * @throws SaladError CONFIGURATION_INVALID for an unknown name or a size that does not fit the grids
 */
export function saladPreset(name: string, workingSize?: number): SaladPreset {
  const presetName = SALAD_PRESET_NAMES.find((candidate) => candidate === name);
  if (presetName === undefined) {
    throw new SaladError(
      'CONFIGURATION_INVALID',
      `unknown SALAD preset ${name}: use one of ${SALAD_PRESET_NAMES.join(', ')}`,
    );
  }
  const size = workingSize ?? DEFAULT_SIZE[presetName];
  const isTiled = presetName === 'salad';
  const isValidSize = isTiled
    ? size % 32 === 0 && size >= 96
    : size >= 16 && Number.isInteger(Math.log2(size / 4));
  if (!isValidSize) {
    throw new SaladError(
      'CONFIGURATION_INVALID',
      isTiled
        ? `working size ${size} must be a multiple of 32 and at least 96`
        : `working size ${size} must be 4 times a power of two and at least 16`,
    );
  }
  return {
    name: presetName,
    description: DESCRIPTIONS[presetName],
    ...(isTiled ? tileGrids(size) : wholeImageGrids(size)),
    config: configOf(presetName, size),
    scoring: isTiled ? TILE_SCORING : PAPER_SCORING,
    whiten: isTiled,
  };
}

/** Renames the output node of an encoder to `unitEmbedding`, so that layers whose output is `embedding` can follow. */
export function freeEmbeddingName(network: NetworkDescription): NetworkDescription {
  const nodes = network.nodes.map((node) =>
    node.name === network.output ? { ...node, name: 'unitEmbedding' } : node,
  );
  return { ...network, nodes, output: 'unitEmbedding' };
}
