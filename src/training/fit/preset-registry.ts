/** The list of training presets: fixed log-Gabor encoders, pretrained encoders and learned SALAD encoders. */
import { SaladError } from '../../errors/index.js';
import { GABOR_PRESETS } from '../encoders/gabor/gabor-presets.js';
import type { TrainingPreset } from '../encoders/preset.js';
import { PRETRAINED_PRESETS } from '../encoders/pretrained/pretrained-presets.js';
import { LEARNED_PRESETS } from '../encoders/salad/salad-presets.js';

export const TRAINING_PRESETS: readonly TrainingPreset[] = [
  ...GABOR_PRESETS,
  ...PRETRAINED_PRESETS,
  ...LEARNED_PRESETS,
];

/** Finds a preset by name. @throws SaladError CONFIGURATION_INVALID for an unknown name */
export function findPreset(name: string): TrainingPreset {
  const preset = TRAINING_PRESETS.find((each) => each.name === name);
  if (preset) return preset;
  const names = TRAINING_PRESETS.map((each) => each.name).join(', ');
  throw new SaladError('CONFIGURATION_INVALID', `unknown --preset ${name}: use one of ${names}`);
}
