/** The ablation's rows: preset `gabor` with one thing changed at a time, then baselines and learned encoders. */

import { fitWhitening } from '../../src/training/encoders/fit-whitening.js';
import {
  type GaborSettings,
  gaborPlan,
  gaborSettings,
} from '../../src/training/encoders/gabor/gabor-presets.js';
import { gaborNetwork } from '../../src/training/encoders/gabor/network.js';
import type { TrainingPlan } from '../../src/training/encoders/preset.js';
import type { SaladConfig } from '../../src/training/encoders/salad/config.js';
import { saladPreset } from '../../src/training/encoders/salad/named-configurations.js';
import { learnedPlan } from '../../src/training/encoders/salad/salad-presets.js';
import type { CoresetMethod } from '../../src/training/fit/bank-builder.js';
import { randomEncoder, rawPatches, unwhitened } from './baselines.js';

export interface Row {
  readonly group: string;
  readonly name: string;
  /** Several are an ensemble. */
  readonly plans: readonly [TrainingPlan, ...TrainingPlan[]];
  /** How the bank is thinned, where not at random. */
  readonly coreset?: CoresetMethod;
  /** Takes minutes: left out of the quick form. */
  readonly learned?: true;
}

const SHIPPED = gaborSettings();
const PLAN = gaborPlan(SHIPPED);

const settings = (change: Partial<GaborSettings>): TrainingPlan => gaborPlan({ ...SHIPPED, ...change });
const scoring = (change: Partial<TrainingPlan['scoring']>): TrainingPlan => ({
  ...PLAN,
  scoring: { ...PLAN.scoring, ...change },
});
const aggregate = (topFraction: number, margin = 1): TrainingPlan =>
  scoring({ aggregate: { topFraction, margin } });

/** There are few images here, so each gives more tiles than the preset takes. */
const TILES_PER_IMAGE = 16;
const SHIFTS_ONLY = { flip: 0, shift: 6, gain: 0, offset: 0, gamma: 0, blur: 0, noise: 0 };

function tileSalad(change: Partial<SaladConfig>): TrainingPlan {
  const preset = saladPreset('salad');
  return learnedPlan({
    ...preset,
    config: { ...preset.config, tilesPerImage: TILES_PER_IMAGE, ...change },
  });
}

function row(group: string, name: string, ...plans: readonly [TrainingPlan, ...TrainingPlan[]]): Row {
  return { group, name, plans };
}

const SMALL_PATCHES = settings({ window: 4, stride: 2 });
/** One patch, which has no outer ring to leave out. */
const WHOLE_IMAGE = settings({
  window: SHIPPED.workingSize / SHIPPED.cell,
  scoring: { ...SHIPPED.scoring, aggregate: { topFraction: 1, margin: 0 } },
});

export const ROWS: readonly Row[] = [
  row('gabor', 'the preset', PLAN),
  row('input', 'not aligned', settings({ align: false })),
  row(
    'input',
    'not aligned, grey levels as they are',
    settings({ align: false, intensity: { kind: 'window' } }),
  ),
  row('input', 'working size 128, 32-pixel patches', gaborPlan(gaborSettings({ workingSize: 128 }))),
  row('descriptor', 'floor 0.1', settings({ floor: 0.1 })),
  row('descriptor', 'floor 0.05', settings({ floor: 0.05 })),
  row('descriptor', 'floor 0.2', settings({ floor: 0.2 })),
  row('descriptor', '3 scales, not 5', settings({ levels: 3 })),
  row('descriptor', 'patches of 32 every 16 pixels', SMALL_PATCHES),
  row('descriptor', 'patches of 64 every 16 pixels', settings({ stride: 2 })),
  row('descriptor', 'not whitened', {
    ...PLAN,
    fitEncoder: () => Promise.resolve(unwhitened(gaborNetwork(SHIPPED))),
  }),
  row('scales', 'one patch, the whole image', WHOLE_IMAGE),
  row('scales', 'ensemble: patches and the whole image', PLAN, WHOLE_IMAGE),
  row('scales', 'ensemble: patches of 64 and of 32', PLAN, SMALL_PATCHES),
  row('scales', 'ensemble: all three', PLAN, SMALL_PATCHES, WHOLE_IMAGE),
  row('search', 'own cell only', scoring({ searchRadius: 0 })),
  row('search', 'two cells around', scoring({ searchRadius: 2 })),
  row('search', 'whole image', scoring({ searchRadius: null })),
  row('search', 'K = 1', scoring({ neighbourCount: 1 })),
  row('search', 'K = 20', scoring({ neighbourCount: 20 })),
  row('search', 'weighted form', scoring({ form: 'weighted' })),
  row('search', 'bank of 1,024 rows', { ...PLAN, bankRows: 1024 }),
  { ...row('search', 'bank of 1,024 rows by k-center', { ...PLAN, bankRows: 1024 }), coreset: 'kCenter' },
  row('aggregate', 'highest cell', aggregate(0.001)),
  row('aggregate', 'mean of the inner cells', aggregate(1)),
  row('aggregate', 'outer ring counts too', aggregate(0.1, 0)),
  row('calibration', 'a fifth held out', settings({ calibration: 'heldOut' })),
  row('baseline', 'raw patches, whitened (PCA)', {
    ...PLAN,
    fitEncoder: (context) => fitWhitening(rawPatches(), context),
  }),
  row('baseline', 'random convolutions, whitened', {
    ...PLAN,
    fitEncoder: (context) => fitWhitening(randomEncoder(context.seed), context),
  }),
  ...[
    row('baseline', 'autoencoder of tiles (w_c = 0)', tileSalad({ contrastWeight: 0 })),
    row('baseline', 'SALAD of whole images, 64 px', learnedPlan(saladPreset('salad-image'))),
    row('learned', 'SALAD of tiles', tileSalad({})),
    row('learned', 'SALAD of tiles: w_r = 0', tileSalad({ reconstructionWeight: 0 })),
    row('learned', 'SALAD of tiles: w_r = 1', tileSalad({ reconstructionWeight: 1 })),
    row('learned', 'SALAD of tiles: self-masked entropy', tileSalad({ selfMaskedEntropy: true })),
    row('learned', 'SALAD of tiles: warm-up against the memory', tileSalad({ warmup: 'memory' })),
    row('learned', 'SALAD of tiles: no neighbourhoods', tileSalad({ rate: 2, epochsPerRound: 3 })),
    row('learned', 'SALAD of tiles: shifts only', tileSalad({ augment: SHIFTS_ONLY })),
  ].map((each) => ({ ...each, learned: true as const })),
];
