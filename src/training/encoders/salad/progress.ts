/** Types of the progress reports and of the history of a training run. */

/** Means over one epoch. */
export interface EpochRecord {
  readonly epoch: number;
  readonly phase: 'warmup' | 'round';
  /** −1 in the warm-up. */
  readonly round: number;
  readonly contrast: 'two-view' | 'memory';
  readonly steps: number;
  readonly loss: number;
  readonly contrastLoss: number;
  /** null where there is no decoder. */
  readonly reconstructionLoss: number | null;
  /** Number of anchors of the round. */
  readonly anchors: number;
}

export interface SaladProgress {
  readonly phase: 'warmup' | 'round';
  readonly round: number;
  /** Number of rounds: R + 1. */
  readonly rounds: number;
  /** 0-based over the whole run. */
  readonly epoch: number;
  readonly epochs: number;
  /** Steps done of this epoch. */
  readonly step: number;
  readonly steps: number;
  /** Means over this epoch so far. */
  readonly losses: {
    readonly loss: number;
    readonly contrast: number;
    readonly reconstruction: number | null;
  };
  /** Estimated time to the end of the run. */
  readonly secondsLeft: number;
  /** Present in the last report of an epoch: the record of that epoch. */
  readonly finished?: EpochRecord;
}

/** Sums over the steps of an epoch so far; plain numbers, so that a checkpoint can store them. */
export interface LossSums {
  steps: number;
  loss: number;
  contrast: number;
  reconstruction: number;
}

export function emptyLossSums(): LossSums {
  return { steps: 0, loss: 0, contrast: 0, reconstruction: 0 };
}

export function meanLosses(sums: LossSums, hasDecoder: boolean): SaladProgress['losses'] {
  const count = Math.max(1, sums.steps);
  return {
    loss: sums.loss / count,
    contrast: sums.contrast / count,
    reconstruction: hasDecoder ? sums.reconstruction / count : null,
  };
}
