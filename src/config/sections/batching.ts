/** Section "Batching". */
import { whole } from './field.js';
import type { SettingsOf } from './section.js';

export const BATCHING_FIELDS = {
  maxBatchSize: whole({
    env: 'SALAD_MAX_BATCH_SIZE',
    default: 0,
    unit: 'tiles',
    min: 0,
    max: 1024,
    description: 'Largest engine batch; 0 means the size that warm-up measures as the best.',
  }),
  statSharePercent: whole({
    env: 'SALAD_STAT_SHARE_PERCENT',
    default: 75,
    unit: '%',
    min: 1,
    max: 100,
    description:
      'Largest share of engine time for urgent (STAT) acquisitions while others wait; a few urgent acquisitions at a time are not limited. 100 means no limit.',
  }),
} as const;

export type BatchingConfig = SettingsOf<typeof BATCHING_FIELDS>;
