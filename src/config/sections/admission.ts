/** Section "Admission". */
import { whole } from './field.js';
import type { SettingsOf } from './section.js';

const MIB = 1024 * 1024;

export const ADMISSION_FIELDS = {
  maxConcurrentAcquisitions: whole({
    env: 'SALAD_MAX_CONCURRENT_ACQUISITIONS',
    default: 1024,
    unit: 'acquisitions',
    min: 1,
    max: 1_000_000,
    description:
      'Largest number of open acquisitions; further ones are refused with RESOURCE_EXHAUSTED and a retry delay.',
  }),
  maxAcquisitionBytes: whole({
    env: 'SALAD_MAX_ACQUISITION_BYTES',
    default: 1024 * MIB,
    unit: 'bytes',
    min: MIB,
    max: 2 ** 40,
    description:
      'Memory that all open acquisitions together may reserve (working images, results, images being decoded); streams get at most three quarters of it, and so do images being decoded.',
  }),
  maxImagePixels: whole({
    env: 'SALAD_MAX_IMAGE_PIXELS',
    default: 64 * 1024 * 1024,
    unit: 'pixels',
    min: 1,
    max: 2 ** 30,
    description: 'Largest source image, in rows times columns.',
  }),
  maxQueueMs: whole({
    env: 'SALAD_MAX_QUEUE_MS',
    default: 5000,
    unit: 'ms',
    min: 1,
    max: 86_400_000,
    description:
      'A new acquisition is refused if its tiles would wait longer than this behind the queued tiles, and longer than maxQueueRatio allows; urgent acquisitions wait only behind urgent ones.',
  }),
  maxQueueRatio: whole({
    env: 'SALAD_MAX_QUEUE_RATIO',
    default: 8,
    unit: 'ratio',
    min: 0,
    max: 1_000_000,
    description:
      'Tiles may wait this many times the engine time of all tiles of their acquisition; with 0 only maxQueueMs applies.',
  }),
  overloadQueueRatio: whole({
    env: 'SALAD_OVERLOAD_QUEUE_RATIO',
    default: 12,
    unit: 'ratio',
    min: 0,
    max: 1_000_000,
    description:
      'Once the queue has not been short for a second, tiles may wait at most this many times the engine time of a usual acquisition or 100 ms, whichever is more, however long maxQueueMs is; with 0 only maxQueueMs and maxQueueRatio apply.',
  }),
  retryDelayMs: whole({
    env: 'SALAD_RETRY_DELAY_MS',
    default: 500,
    unit: 'ms',
    min: 1,
    max: 600_000,
    description: 'Delay after which a refused client should try again; the error contains it.',
  }),
} as const;

export type AdmissionConfig = SettingsOf<typeof ADMISSION_FIELDS>;
