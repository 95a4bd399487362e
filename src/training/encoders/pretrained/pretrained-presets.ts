/**
 * The preset that describes patches by log-Gabor texture and by the feature maps of a pretrained encoder
 * (docs/explanation/pretrained-encoder.md).
 */
import { SaladError } from '../../../errors/index.js';
import type { ScoringSpec } from '../../../geometry/specifications.js';
import { fitGroupedWhitening, type GroupWhitening } from '../fit-grouped-whitening.js';
import { gaborPlan, gaborSettings } from '../gabor/gabor-presets.js';
import type { PresetOptions, PretrainedEncoder, TrainingPlan, TrainingPreset } from '../preset.js';
import { type PatchWindow, pretrainedNetwork } from './network.js';

/** Cells of 8 pixels and 5 levels of the log-Gabor map, as the recipe was measured. */
const WORKING_SIZE = 224;
const CELL = 8;
const LEVELS = 5;
/** Scored patches are this large where no encoder file is given: only to check the other options early. */
const DEFAULT_PATCH_SIZE = 8;

interface Recipe extends PatchWindow {
  readonly scoring: Pick<ScoringSpec, 'aggregate' | 'blur' | 'edgePenalty'>;
  readonly whitening: GroupWhitening;
  readonly bankRows: number;
}

/** By side of a patch. Chosen on normals and the `choose` thirds (docs/results/2026-11/detection.md). */
const RECIPES: ReadonlyMap<number, Recipe> = new Map([
  [
    8,
    {
      window: 1,
      stride: 1,
      scoring: { blur: 1, edgePenalty: 2, aggregate: { topFraction: 0.2, margin: 0 } },
      whitening: { components: [42, 128], standardised: true, imagesMax: 320, patchStep: 2 },
      bankRows: 20 * 28 * 28,
    },
  ],
  [
    64,
    {
      window: 8,
      stride: 4,
      scoring: { aggregate: { topFraction: 0.5, margin: 1 } },
      whitening: { components: [64, 128], imagesMax: 700, patchStep: 1 },
      bankRows: 14_112,
    },
  ],
]);

function recipeOf(patchSize: number): Recipe {
  const recipe = RECIPES.get(patchSize);
  if (recipe !== undefined) return recipe;
  const sizes = [...RECIPES.keys()].join(' or ');
  throw new SaladError('CONFIGURATION_INVALID', `--patch-size ${patchSize}: preset pretrained has ${sizes}`);
}

function encoderLimits({ name, source, licence, notice }: PretrainedEncoder): readonly string[] {
  return [
    `Encoder: ${name}; licence ${licence}. ${source}. ${notice}`,
    'The encoder was trained on photographs; nothing in it was trained on X-rays or on disease.',
  ];
}

function pretrainedPlan(options: PresetOptions): TrainingPlan {
  const { encoder, workingSize = WORKING_SIZE, patchSize = DEFAULT_PATCH_SIZE, align = true } = options;
  if (workingSize !== WORKING_SIZE) {
    throw new SaladError('CONFIGURATION_INVALID', `--working-size: preset pretrained has ${WORKING_SIZE}`);
  }
  if (encoder === undefined) {
    throw new SaladError('CONFIGURATION_INVALID', 'preset pretrained needs --encoder FILE');
  }
  const recipe = recipeOf(patchSize);
  const { imageSide: _side, ...gaborOptions } = options;
  const settings = gaborSettings({ ...gaborOptions, workingSize, align });
  const plan = gaborPlan({ ...settings, window: recipe.window, stride: recipe.stride });
  const network = {
    workingSize,
    levels: LEVELS,
    cell: CELL,
    floor: settings.floor,
    window: recipe.window,
    stride: recipe.stride,
    encoder,
  };
  return {
    ...plan,
    scoring: { ...plan.scoring, ...recipe.scoring },
    bankRows: recipe.bankRows,
    usesViews: recipe.window === 1,
    judgesPlausibility: true,
    limits: [
      ...encoderLimits(encoder),
      ...plan.limits.filter((limit) => !limit.startsWith('The descriptor')),
    ],
    fitEncoder: (context) => fitGroupedWhitening(pretrainedNetwork(network), context, recipe.whitening),
  };
}

export const PRETRAINED_PRESETS: readonly TrainingPreset[] = [
  {
    name: 'pretrained',
    description:
      'log-Gabor patches and feature maps of the network in --encoder FILE; most accurate, finest map',
    plan: pretrainedPlan,
  },
];
