/**
 * Trains a SALAD encoder (docs/explanation/salad-method.md, sections 4 to 6) on the current tfjs backend: warm-up epochs,
 * then rounds whose anchors and neighbours are fixed within the round. At image level there is one tile per image.
 */
import * as tf from '@tensorflow/tfjs-core';
import { SaladError } from '../../../errors/index.js';
import type { NetworkDescription, Weights } from '../../../network/description.js';
import { Adam } from './adam.js';
import { discoverAnchors, lastRound, NO_ANCHORS } from './anchors.js';
import {
  type BatchContext,
  batchRows,
  type ContrastLoss,
  memoryContrastLoss,
  readAugmentedViews,
  readPlainTiles,
  twoViewContrastLoss,
} from './batches.js';
import { readCheckpoint, writeCheckpoint } from './checkpoint.js';
import { parseSaladConfig, type SaladConfig } from './config.js';
import { createMemory, updateMemory } from './memory.js';
import { type EpochRecord, emptyLossSums, meanLosses, type SaladProgress } from './progress.js';
import { RANDOM_PURPOSE, randomStream } from './random-streams.js';
import {
  checkIdentity,
  configSha256,
  createCheckpoint,
  type RunIdentity,
  type RunState,
  restoreRun,
} from './run-state.js';
import { BATCH_SIZE_MIN, type EpochPlan, learningRateAt, planEpochs, stepsPerEpoch } from './schedule.js';
import { backendSimilarityBlock } from './similarity.js';
import { assignMemoryRows, checkTileSource, fingerprintTiles, type TileSource } from './tiles.js';
import { TrainableNetwork } from './trainable-network.js';

export interface SaladTrainingOptions {
  readonly tiles: TileSource;
  readonly config: SaladConfig;
  /** The same seed, data, configuration and backend give the same bytes. */
  readonly seed: number;
  /** Folder for checkpoints; absent: no checkpoints. */
  readonly checkpointDirectory?: string;
  /** Resumes the checkpoint in checkpointDir, if there is one. @default false */
  readonly resume?: boolean;
  /** Checked between batches: an abort writes a checkpoint, then throws CANCELLED. */
  readonly signal?: AbortSignal;
  /** Called after every batch. */
  readonly onProgress?: (progress: SaladProgress) => void;
  /** Age of the last checkpoint at which another one is written within an epoch. @default 60 */
  readonly checkpointEverySeconds?: number;
}

export interface TrainedEncoder {
  readonly network: NetworkDescription;
  /** Weights of the encoder, moving statistics included; the decoder is not served. */
  readonly weights: Weights;
  readonly history: readonly EpochRecord[];
}

/** Tiles per forward pass when the encoder fills the memory. */
const EMBED_BATCH = 64;

/**
 * Trains on the current tfjs backend (see prepareTrainingBackend).
 *
 * @throws SaladError CONFIGURATION_INVALID, TRAINING_DATA_INVALID (also from checkIdentity), CANCELLED
 */
export async function trainSaladEncoder(options: SaladTrainingOptions): Promise<TrainedEncoder> {
  const { tiles, seed } = options;
  const config = parseSaladConfig(options.config);
  checkTileSource(tiles);
  const rows = assignMemoryRows(tiles, config, seed);
  checkRowCount(rows.count, config);
  const run = new SaladRun(options, { tiles, rows, config, seed });
  try {
    await run.restoreCheckpoint();
    return await run.train();
  } finally {
    run.dispose();
  }
}

function checkRowCount(count: number, config: SaladConfig): void {
  if (count < Math.max(BATCH_SIZE_MIN, config.neighbours + 1)) {
    throw new SaladError(
      'TRAINING_DATA_INVALID',
      `${count} training tiles are too few for batches of ${BATCH_SIZE_MIN} and ${config.neighbours} neighbours`,
    );
  }
}

class SaladRun {
  private readonly options: SaladTrainingOptions;
  private readonly context: BatchContext;
  private readonly state: RunState;
  private readonly plans: readonly EpochPlan[];
  private readonly stepsPerEpoch: number;
  /** Present where checkpoints are written. */
  private identity: RunIdentity | undefined;
  private savedAt = performance.now();
  private startedAt = performance.now();
  /** Steps since the start of this process, for the estimate of the remaining time. */
  private stepsDone = 0;

  constructor(options: SaladTrainingOptions, context: BatchContext) {
    this.options = options;
    this.context = context;
    const { tiles, config, seed, rows } = context;
    this.plans = planEpochs(config);
    this.stepsPerEpoch = stepsPerEpoch(rows.count, config.batchSize);
    this.state = {
      network: new TrainableNetwork(config, tiles.size, seed),
      adam: new Adam({ weightDecay: config.weightDecay }),
      memory: createMemory(rows.count, config.embedding, randomStream(seed, RANDOM_PURPOSE.memory)),
      anchors: NO_ANCHORS,
      epoch: 0,
      step: 0,
      sums: emptyLossSums(),
      history: [],
    };
  }

  /** Restores the checkpoint where `resume` is set and there is one. */
  async restoreCheckpoint(): Promise<void> {
    const { checkpointDirectory: checkpointDir, resume, seed } = this.options;
    if (checkpointDir === undefined) return;
    this.identity = {
      configSha256: configSha256(this.context.config),
      dataSha256: await fingerprintTiles(this.context.tiles),
      seed,
      backend: tf.getBackend(),
    };
    const checkpoint = resume === true ? await readCheckpoint(checkpointDir) : undefined;
    if (checkpoint === undefined) return;
    checkIdentity(checkpoint.meta, this.identity);
    restoreRun(this.state, checkpoint);
  }

  /** Runs the remaining epochs. */
  async train(): Promise<TrainedEncoder> {
    this.startedAt = performance.now();
    while (this.state.epoch < this.plans.length) await this.runEpoch(this.plans[this.state.epoch]!);
    const { network, history } = this.state;
    return { network: network.encoder, weights: await network.exportEncoder(), history };
  }

  private async runEpoch(plan: EpochPlan): Promise<void> {
    if (this.state.step === 0) await this.beginEpoch(plan);
    while (this.state.step < this.stepsPerEpoch) {
      await this.yieldToEvents();
      await this.runBatch(plan);
      this.state.step++;
      this.stepsDone++;
      if (this.state.step < this.stepsPerEpoch) {
        this.reportProgress(plan);
        if (this.isCheckpointDue()) await this.saveCheckpoint();
      }
    }
    const record = this.epochRecord(plan);
    this.reportProgress(plan, record);
    this.state.history.push(record);
    this.state.epoch++;
    this.state.step = 0;
    this.state.sums = emptyLossSums();
    await this.saveCheckpoint();
  }

  /** Fills the memory before its first use, and finds the anchors at the start of a round. */
  private async beginEpoch(plan: EpochPlan): Promise<void> {
    const { config, rows } = this.context;
    const isFirstUse = plan.contrast === 'memory' && this.plans[plan.index - 1]?.contrast !== 'memory';
    if (isFirstUse && config.initialMemory === 'embedded') await this.embedMemory();
    if (plan.phase !== 'round' || plan.epoch > 0) return;
    this.state.anchors = await discoverAnchors(this.state.memory, {
      temperature: config.temperature,
      selfMasked: config.selfMaskedEntropy,
      rate: config.rate,
      round: plan.round,
      neighbours: config.neighbours,
      allowed: rows.mayBeNeighbours,
      similarityBlock: backendSimilarityBlock,
    });
  }

  /** Fills the memory with the encoder's embeddings in inference mode. */
  private async embedMemory(): Promise<void> {
    const { memory, network } = this.state;
    for (let first = 0; first < memory.rows; first += EMBED_BATCH) {
      await this.yieldToEvents();
      const count = Math.min(EMBED_BATCH, memory.rows - first);
      const rows = Int32Array.from({ length: count }, (_, i) => first + i);
      const pixels = await readPlainTiles(this.context, rows);
      memory.values.set(await network.embed(pixels), first * memory.dimension);
      pixels.dispose();
    }
  }

  private async runBatch(plan: EpochPlan): Promise<void> {
    const { state, context } = this;
    const rows = batchRows(context, plan.index, state.step);
    const isTwoView = plan.contrast === 'two-view';
    const pixels = await readAugmentedViews(context, rows, plan.index, isTwoView ? 2 : 1);
    const contrast: ContrastLoss = isTwoView
      ? twoViewContrastLoss(context, rows)
      : memoryContrastLoss(context, rows, state.memory, state.anchors, plan.index, state.step);
    const learningRate = learningRateAt(context.config, this.stepsBefore(plan), this.totalSteps());
    const result = await state.network.step(pixels, rows.length, contrast.loss, state.adam, learningRate);
    contrast.dispose();
    pixels.dispose();
    if (!Number.isFinite(result.total)) {
      throw new SaladError(
        'CONFIGURATION_INVALID',
        `the loss is ${result.total} in epoch ${plan.index}, step ${state.step}: lower learningRate`,
      );
    }
    // After the gradient step, which used the previous memory (docs/explanation/salad-method.md, section 5).
    if (!isTwoView) updateMemory(state.memory, rows, result.embeddings, context.config.momentum);
    state.sums.steps++;
    state.sums.loss += result.total;
    state.sums.contrast += result.contrast;
    state.sums.reconstruction += Number.isNaN(result.reconstruction) ? 0 : result.reconstruction;
  }

  /** Steps of the whole run before the current one. */
  private stepsBefore(plan: EpochPlan): number {
    return plan.index * this.stepsPerEpoch + this.state.step;
  }

  private totalSteps(): number {
    return this.plans.length * this.stepsPerEpoch;
  }

  private epochRecord(plan: EpochPlan): EpochRecord {
    const { loss, contrast, reconstruction } = this.losses();
    return {
      epoch: plan.index,
      phase: plan.phase,
      round: plan.round,
      contrast: plan.contrast,
      steps: this.state.sums.steps,
      loss,
      contrastLoss: contrast,
      reconstructionLoss: reconstruction,
      anchors: this.state.anchors.anchors.length,
    };
  }

  private losses(): SaladProgress['losses'] {
    return meanLosses(this.state.sums, this.context.config.reconstructionWeight > 0);
  }

  private reportProgress(plan: EpochPlan, finished?: EpochRecord): void {
    const elapsedSeconds = (performance.now() - this.startedAt) / 1000;
    const stepsLeft = this.totalSteps() - this.stepsBefore(plan);
    this.options.onProgress?.({
      phase: plan.phase,
      round: plan.round,
      rounds: lastRound(this.context.config.rate) + 1,
      epoch: plan.index,
      epochs: this.plans.length,
      step: this.state.step,
      steps: this.stepsPerEpoch,
      losses: this.losses(),
      secondsLeft: (elapsedSeconds / Math.max(1, this.stepsDone)) * stepsLeft,
      ...(finished === undefined ? {} : { finished }),
    });
  }

  /** Lets signals and timers run. Where the signal is aborted, writes a checkpoint and throws CANCELLED. */
  private async yieldToEvents(): Promise<void> {
    await new Promise<void>((resolve) => setImmediate(resolve));
    if (this.options.signal?.aborted !== true) return;
    await this.saveCheckpoint();
    throw new SaladError('CANCELLED', 'training was interrupted; resume continues from the checkpoint', {
      cause: this.options.signal.reason,
    });
  }

  private isCheckpointDue(): boolean {
    return performance.now() - this.savedAt >= (this.options.checkpointEverySeconds ?? 60) * 1000;
  }

  private async saveCheckpoint(): Promise<void> {
    if (this.options.checkpointDirectory === undefined || this.identity === undefined) return;
    const checkpoint = await createCheckpoint(this.state, this.identity, this.context.config.neighbours);
    await writeCheckpoint(this.options.checkpointDirectory, checkpoint);
    this.savedAt = performance.now();
  }

  dispose(): void {
    this.state.network.dispose();
    this.state.adam.dispose();
  }
}
