/** The presets with fixed log-Gabor filters and one fitted whitening. Training takes about half a minute. */
import { SaladError } from '../../../errors/index.js';
import type { InputSpec, ScoringSpec, TilingSpec } from '../../../geometry/specifications.js';
import { fitWhitening } from '../fit-whitening.js';
import type { PresetOptions, TrainingPlan, TrainingPreset } from '../preset.js';
import type { WhiteningOptions } from '../whitening.js';
import { type GaborOptions, gaborNetwork, RECIPE_GABOR } from './network.js';
import { gaborStreamNetwork, STREAM_GABOR } from './stream-network.js';

const ORIENTATION =
  'frontal: top of the image is cranial, left of the image is the right side of the patient';

/** Chord distance to the 5 nearest prototypes within one grid cell; mean of the top 10 % of inner cells. */
const SCORING: ScoringSpec = {
  distance: 'chord',
  form: 'mean',
  neighbourCount: 5,
  temperature: 0.1,
  searchRadius: 1,
  aggregate: { topFraction: 0.1, margin: 1 },
};

/**
 * The streamable grid is finer (256 patches of 24 pixels instead of 36 of 64), so the top 1 % are its 2 highest inner
 * cells. Chosen on phantoms with other seeds than the test's (docs/results/2026-11/detection.md).
 */
const STREAM_SCORING: ScoringSpec = { ...SCORING, aggregate: { topFraction: 0.01, margin: 1 } };

/**
 * Chosen on the same phantoms. The constant channel keeps the distance of a patch from the mean; more shrinkage keeps
 * noise directions smaller.
 */
const STREAM_WHITENING: WhiteningOptions = { shrinkage: 0.3, constant: 4 };

const STRIP_CORES_MAX = 8;

const FIXED_LIMIT =
  'The descriptor is fixed texture energy (log-Gabor), not learned features; blur and sharpness change it too.';

function invalidSize(size: number, rule: string): SaladError {
  return new SaladError('CONFIGURATION_INVALID', `--working-size ${size} does not fit this preset: ${rule}`);
}

/** The settings of a `gabor` plan: chosen by the preset, varied by the ablation (bench/research/ablation.ts). */
export interface GaborSettings extends GaborOptions {
  readonly align: boolean;
  readonly intensity: InputSpec['intensity'];
  readonly scoring: ScoringSpec;
  readonly calibration: TrainingPlan['calibration'];
}

/**
 * Images with a smaller side are enlarged to the recipe's 224 pixels, so patches of half the side show the same anatomy
 * (measured on knees, docs/results/2026-11/detection.md). Also the smallest working size with cells of 8 pixels.
 */
const SMALL_SIDE = 192;

/** The settings of preset `gabor`. @throws SaladError CONFIGURATION_INVALID for a working size that does not fit */
export function gaborSettings({
  imageSide = 224,
  workingSize = 224,
  textureFloor = RECIPE_GABOR.floor,
  align = true,
}: PresetOptions = {}): GaborSettings {
  if (workingSize % 32 !== 0 || workingSize < 128) {
    throw invalidSize(workingSize, 'it must be a multiple of 32 and at least 128');
  }
  return {
    ...RECIPE_GABOR,
    workingSize,
    floor: textureFloor,
    ...(imageSide < SMALL_SIDE && workingSize >= SMALL_SIDE ? { window: 4, stride: 2 } : {}),
    // At 128 pixels this gives 49 patches of 32 pixels instead of 9 of 64.
    cell: workingSize >= SMALL_SIDE ? 8 : 4,
    // As in the recipe, the coarsest level has at least 14 samples per side.
    levels: workingSize >= 224 ? 5 : 4,
    align,
    intensity: { kind: 'percentile', low: 1, high: 99 },
    scoring: SCORING,
    calibration: 'crossFitted',
  };
}

/** Makes the plan of the given settings. */
export function gaborPlan(settings: GaborSettings): TrainingPlan {
  const { workingSize, cell, window, stride, align, intensity, scoring, calibration } = settings;
  const input: InputSpec = { workingSize, fit: 'stretch', intensity, orientation: ORIENTATION };
  const tiling: TilingSpec = {
    coreSize: workingSize,
    haloSize: 0,
    patchesPerSide: Math.floor((workingSize / cell - window) / stride) + 1,
    patchStride: stride * cell,
    patchSize: window * cell,
    patchOffset: 0,
    minStd: 0,
  };
  return {
    input,
    tiling,
    scoring,
    align,
    calibration,
    bankRows: 16_384,
    limits: [
      FIXED_LIMIT,
      ...(align
        ? [
            'Images are shifted, scaled and rotated to match the mean training image; a mirrored image is not corrected.',
          ]
        : []),
      'Intensity is stretched by percentiles: no score before the last row.',
    ],
    fitEncoder: (context) => fitWhitening(gaborNetwork(settings), context),
  };
}

/**
 * Number of cores in a strip: the largest divisor of `coresPerRow` up to STRIP_CORES_MAX. The cores of a strip share
 * their halo: with 8 cores the encoder processes 3 times the pixels of the cores, with one core 6.25 times. Wider strips
 * save little more and exceed the processor's caches.
 */
function stripWidth(coresPerRow: number): number {
  let width = Math.min(coresPerRow, STRIP_CORES_MAX);
  while (coresPerRow % width !== 0) width -= 1;
  return width;
}

function gaborStreamPlan(options: PresetOptions): TrainingPlan {
  const workingSize = options.workingSize ?? 256;
  const { coreSize, haloSize, window } = STREAM_GABOR;
  if (workingSize % coreSize !== 0 || workingSize < 4 * coreSize) {
    throw invalidSize(workingSize, `it must be a multiple of ${coreSize} and at least ${4 * coreSize}`);
  }
  const coresPerTile = stripWidth(workingSize / coreSize);
  const input: InputSpec = {
    workingSize,
    fit: 'stretch',
    intensity: { kind: 'window' },
    orientation: ORIENTATION,
  };
  const tiling: TilingSpec = {
    coreSize,
    coresPerTile,
    haloSize,
    patchesPerSide: 2,
    patchStride: 16,
    patchSize: 8 * window,
    patchOffset: -8,
    minStd: 2,
  };
  return {
    input,
    tiling,
    scoring: STREAM_SCORING,
    align: false,
    calibration: 'crossFitted',
    bankRows: 16_384,
    limits: [
      FIXED_LIMIT,
      'Images are not aligned, because that needs the whole image: rotated or badly centred images score higher.',
      'Streamable: a patch depends only on the 80 pixels around it, so wider findings score high at their borders only.',
      "Intensity follows the header's window: a badly chosen window raises every score.",
    ],
    fitEncoder: (context) =>
      fitWhitening(gaborStreamNetwork({ ...STREAM_GABOR, coresPerTile }), context, STREAM_WHITENING),
  };
}

export const GABOR_PRESETS: readonly TrainingPreset[] = [
  {
    name: 'gabor',
    description: 'log-Gabor patches of the whole image, whitened; scores after the last row',
    plan: (options) => gaborPlan(gaborSettings(options)),
  },
  {
    name: 'gabor-stream',
    description: 'log-Gabor patches of strips of the image, whitened; scores while rows arrive',
    plan: gaborStreamPlan,
  },
];
