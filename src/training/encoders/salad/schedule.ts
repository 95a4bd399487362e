/** The schedule of a run: its epochs, steps and learning rates (docs/explanation/salad-method.md, section 6). */
import { lastRound } from './anchors.js';
import type { SaladConfig } from './config.js';

export interface EpochPlan {
  /** 0-based over the whole run. */
  readonly index: number;
  readonly phase: 'warmup' | 'round';
  /** Round number; −1 in the warm-up. */
  readonly round: number;
  /** 0-based within the warm-up or round. */
  readonly epoch: number;
  /** The contrast loss of its batches: within the batch, or against the memory. */
  readonly contrast: 'two-view' | 'memory';
}

/** Lists the epochs in order: warm-up, then rounds 0..R. */
export function planEpochs(config: SaladConfig): readonly EpochPlan[] {
  const plans: EpochPlan[] = [];
  for (let epoch = 0; epoch < config.warmupEpochs; epoch++) {
    plans.push({ index: plans.length, phase: 'warmup', round: -1, epoch, contrast: config.warmup });
  }
  for (let round = 0; round <= lastRound(config.rate); round++) {
    for (let epoch = 0; epoch < config.epochsPerRound; epoch++) {
      plans.push({ index: plans.length, phase: 'round', round, epoch, contrast: 'memory' });
    }
  }
  return plans;
}

/**
 * A smaller last batch is dropped, because batch-norm statistics of so few tiles are poor
 * (docs/explanation/salad-method.md, section 6).
 */
export const BATCH_SIZE_MIN = 8;

/** Number of batches of an epoch over all memory rows. */
export function stepsPerEpoch(rows: number, batchSize: number): number {
  const fullBatches = Math.floor(rows / batchSize);
  return rows - fullBatches * batchSize >= BATCH_SIZE_MIN ? fullBatches + 1 : fullBatches;
}

/** Learning rate at a step. @param step 0-based over the whole run @param steps of the whole run */
export function learningRateAt(config: SaladConfig, step: number, steps: number): number {
  if (config.learningRateSchedule === 'constant') return config.learningRate;
  return (config.learningRate * (1 + Math.cos((Math.PI * step) / steps))) / 2;
}
