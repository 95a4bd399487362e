/** The epochs of a run in order: warm-up, then rounds 0..R (docs/explanation/salad-method.md, section 6). */
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
  /** What its batches are compared with. */
  readonly contrast: 'two-view' | 'memory';
}

export function epochPlans(config: SaladConfig): readonly EpochPlan[] {
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

/** A last batch below this is dropped: training-mode statistics of a few tiles corrupt (docs/explanation/salad-method.md, section 6). */
export const SMALLEST_BATCH = 8;

export function stepsPerEpoch(slots: number, batchSize: number): number {
  const whole = Math.floor(slots / batchSize);
  return slots - whole * batchSize >= SMALLEST_BATCH ? whole + 1 : whole;
}

/** Learning rate of step `step` of `steps` (0-based over the whole run). */
export function learningRateAt(config: SaladConfig, step: number, steps: number): number {
  if (config.learningRateSchedule === 'constant') return config.learningRate;
  return (config.learningRate * (1 + Math.cos((Math.PI * step) / steps))) / 2;
}
