/** The registry of training presets: fixed log-Gabor encoders and SALAD's learned ones. */
import { SaladError } from '../../errors/index.js';
import { GABOR_PRESETS } from '../encoders/gabor/presets.js';
import type { TrainingPreset } from '../encoders/preset.js';
import { LEARNED_PRESETS } from '../encoders/salad/presets.js';

export const TRAINING_PRESETS: readonly TrainingPreset[] = [...GABOR_PRESETS, ...LEARNED_PRESETS];

/** @throws SaladError CONFIGURATION_INVALID for a name that is not in the registry. */
export function findPreset(name: string): TrainingPreset {
  const preset = TRAINING_PRESETS.find((each) => each.name === name);
  if (preset) return preset;
  const known = TRAINING_PRESETS.map((each) => each.name).join(', ');
  throw new SaladError('CONFIGURATION_INVALID', `--preset ${name} is not known; there are: ${known}`);
}
