/**
 * The SALAD trainer (docs/explanation/salad-method.md, section 4 to 6): warm-up, then rounds with anchors and neighbours fixed within the
 * round, on whichever tfjs backend is current. Image level is the case of one tile per image.
 */
import * as tf from '@tensorflow/tfjs-core';
import { SaladError } from '../../../errors/index.js';
import type { NetworkDescription, Weights } from '../../../network/description.js';
import { readTensor } from '../../backend/read-tensor.js';
import { Adam } from './adam.js';
import { discoverAnchors, lastRound } from './anchors.js';
import {
  augmentedViews,
  type BatchContrast,
  type BatchMaker,
  batchSlots,
  memoryContrast,
  plainTiles,
  twoViewContrast,
} from './batches.js';
import { readCheckpoint, writeCheckpoint } from './checkpoint.js';
import { parseSaladConfig, type SaladConfig } from './config.js';
import { initialMemory, updateMemory } from './memory.js';
import { type EpochRecord, meanLosses, noLosses, type SaladProgress } from './progress.js';
import { RANDOM_PURPOSE, randomStream } from './random-streams.js';
import {
  checkIdentity,
  checkpointOf,
  configSha256,
  NO_ANCHORS,
  type RunIdentity,
  type RunState,
  restore,
} from './run-state.js';
import { type EpochPlan, epochPlans, learningRateAt, SMALLEST_BATCH, stepsPerEpoch } from './schedule.js';
import type { SimilarityBlock } from './similarity.js';
import { checkTileSource, slotTable, type TileSource, tileFingerprint } from './tiles.js';
import { TrainableNetwork } from './trainable-network.js';

export interface SaladTrainingOptions {
  readonly tiles: TileSource;
  readonly config: SaladConfig;
  /** The same seed, data, configuration and backend give the same bytes. */
  readonly seed: number;
  /** Where checkpoints are kept; absent: none. */
  readonly checkpointDir?: string;
  /** Take up the checkpoint in checkpointDir where there is one. @default false */
  readonly resume?: boolean;
  /** Checked between batches: an abort writes a checkpoint, then throws CANCELLED. */
  readonly signal?: AbortSignal;
  /** After every batch. */
  readonly onProgress?: (progress: SaladProgress) => void;
  /** Checkpoint within an epoch when the last one is this old. @default 60 */
  readonly checkpointEverySeconds?: number;
}

export interface TrainedEncoder {
  readonly network: NetworkDescription;
  /** The encoder's weights, moving statistics included; the decoder is not served. */
  readonly weights: Weights;
  readonly history: readonly EpochRecord[];
}

/** Tiles embedded at once when the memory is filled by the encoder. */
const EMBED_BATCH = 64;

/**
 * Trains on the current tfjs backend (see prepareTrainingBackend).
 *
 * @throws SaladError CONFIGURATION_INVALID, TRAINING_DATA_INVALID (see checkIdentity too), CANCELLED
 */
export async function trainSaladEncoder(options: SaladTrainingOptions): Promise<TrainedEncoder> {
  const config = parseSaladConfig(options.config);
  checkTileSource(options.tiles);
  const slots = slotTable(options.tiles, config, options.seed);
  checkSlotCount(slots.count, config);
  const run = new SaladRun(options, { tiles: options.tiles, slots, config, seed: options.seed });
  try {
    await run.start();
    return await run.train();
  } finally {
    run.dispose();
  }
}

function checkSlotCount(count: number, config: SaladConfig): void {
  if (count < Math.max(SMALLEST_BATCH, config.neighbours + 1)) {
    throw new SaladError(
      'TRAINING_DATA_INVALID',
      `${count} training tiles are too few for batches of ${SMALLEST_BATCH} and ${config.neighbours} neighbours`,
    );
  }
}

class SaladRun {
  private readonly options: SaladTrainingOptions;
  private readonly maker: BatchMaker;
  private readonly state: RunState;
  private readonly plans: readonly EpochPlan[];
  private readonly steps: number;
  private identity: RunIdentity | undefined;
  private savedAt = performance.now();
  private startedAt = performance.now();
  private stepsDone = 0;

  constructor(options: SaladTrainingOptions, maker: BatchMaker) {
    this.options = options;
    this.maker = maker;
    const { config, seed, slots } = maker;
    this.plans = epochPlans(config);
    this.steps = stepsPerEpoch(slots.count, config.batchSize);
    this.state = {
      network: new TrainableNetwork(config, maker.tiles.size, seed),
      adam: new Adam({ weightDecay: config.weightDecay }),
      memory: initialMemory(slots.count, config.embedding, randomStream(seed, RANDOM_PURPOSE.bank)),
      anchors: NO_ANCHORS,
      epoch: 0,
      step: 0,
      sums: noLosses(),
      history: [],
    };
  }

  /** Restores a checkpoint where that is asked for and there is one. */
  async start(): Promise<void> {
    const { checkpointDir, resume, seed } = this.options;
    if (checkpointDir === undefined) return;
    this.identity = {
      configSha256: configSha256(this.maker.config),
      dataSha256: await tileFingerprint(this.maker.tiles),
      seed,
      backend: tf.getBackend(),
    };
    const checkpoint = resume === true ? await readCheckpoint(checkpointDir) : undefined;
    if (checkpoint === undefined) return;
    checkIdentity(checkpoint.meta, this.identity);
    restore(this.state, checkpoint);
  }

  async train(): Promise<TrainedEncoder> {
    this.startedAt = performance.now();
    while (this.state.epoch < this.plans.length) await this.runEpoch(this.plans[this.state.epoch]!);
    const { network, history } = this.state;
    return { network: network.encoder, weights: await network.exportEncoder(), history };
  }

  private async runEpoch(plan: EpochPlan): Promise<void> {
    if (this.state.step === 0) await this.beginEpoch(plan);
    while (this.state.step < this.steps) {
      await this.yieldToEvents();
      await this.runBatch(plan);
      this.state.step++;
      this.stepsDone++;
      if (this.state.step < this.steps) {
        this.report(plan);
        if (this.isCheckpointDue()) await this.save();
      }
    }
    const record = this.epochRecord(plan);
    this.report(plan, record);
    this.state.history.push(record);
    this.state.epoch++;
    this.state.step = 0;
    this.state.sums = noLosses();
    await this.save();
  }

  /** Fills the memory before its first use; discovers anchors at the start of a round. */
  private async beginEpoch(plan: EpochPlan): Promise<void> {
    const { config, slots } = this.maker;
    const isFirstUse = plan.contrast === 'memory' && this.plans[plan.index - 1]?.contrast !== 'memory';
    if (isFirstUse && config.initialMemory === 'embedded') await this.embedMemory();
    if (plan.phase !== 'round' || plan.epoch > 0) return;
    this.state.anchors = await discoverAnchors(this.state.memory, {
      temperature: config.temperature,
      selfMasked: config.selfMaskedEntropy,
      rate: config.rate,
      round: plan.round,
      neighbours: config.neighbours,
      allowed: slots.mayBeNeighbours,
      similarityBlock: backendSimilarityBlock,
    });
  }

  private async embedMemory(): Promise<void> {
    const { memory, network } = this.state;
    for (let first = 0; first < memory.rows; first += EMBED_BATCH) {
      await this.yieldToEvents();
      const count = Math.min(EMBED_BATCH, memory.rows - first);
      const pixels = await plainTiles(
        this.maker,
        Int32Array.from({ length: count }, (_, i) => first + i),
      );
      memory.values.set(await network.embed(pixels), first * memory.dimension);
      pixels.dispose();
    }
  }

  private async runBatch(plan: EpochPlan): Promise<void> {
    const { state, maker } = this;
    const slots = batchSlots(maker, plan.index, state.step);
    const isTwoView = plan.contrast === 'two-view';
    const pixels = await augmentedViews(maker, slots, plan.index, isTwoView ? 2 : 1);
    const contrast: BatchContrast = isTwoView
      ? twoViewContrast(maker, slots)
      : memoryContrast(maker, slots, state.memory, state.anchors, plan.index, state.step);
    const rate = learningRateAt(
      maker.config,
      plan.index * this.steps + state.step,
      this.plans.length * this.steps,
    );
    const result = await state.network.step(pixels, slots.length, contrast.loss, state.adam, rate);
    contrast.dispose();
    pixels.dispose();
    if (!Number.isFinite(result.total)) {
      throw new SaladError(
        'CONFIGURATION_INVALID',
        `the loss is ${result.total} in epoch ${plan.index}, step ${state.step}: lower learningRate`,
      );
    }
    // After the gradient from the old memory, as in docs/explanation/salad-method.md, section 5.
    if (!isTwoView) updateMemory(state.memory, slots, result.embeddings, maker.config.momentum);
    state.sums.steps++;
    state.sums.loss += result.total;
    state.sums.contrast += result.contrast;
    state.sums.reconstruction += Number.isNaN(result.reconstruction) ? 0 : result.reconstruction;
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
    return meanLosses(this.state.sums, this.maker.config.reconstructionWeight > 0);
  }

  private report(plan: EpochPlan, finished?: EpochRecord): void {
    const elapsed = (performance.now() - this.startedAt) / 1000;
    const left = this.plans.length * this.steps - (plan.index * this.steps + this.state.step);
    this.options.onProgress?.({
      phase: plan.phase,
      round: plan.round,
      rounds: lastRound(this.maker.config.rate) + 1,
      epoch: plan.index,
      epochs: this.plans.length,
      step: this.state.step,
      steps: this.steps,
      losses: this.losses(),
      secondsLeft: (elapsed / Math.max(1, this.stepsDone)) * left,
      ...(finished === undefined ? {} : { finished }),
    });
  }

  /** Lets signals and timers in; an abort leaves a checkpoint behind. */
  private async yieldToEvents(): Promise<void> {
    await new Promise<void>((resolve) => setImmediate(resolve));
    if (this.options.signal?.aborted !== true) return;
    await this.save();
    throw new SaladError('CANCELLED', 'training was interrupted; resume continues from the checkpoint', {
      cause: this.options.signal.reason,
    });
  }

  private isCheckpointDue(): boolean {
    return performance.now() - this.savedAt >= (this.options.checkpointEverySeconds ?? 60) * 1000;
  }

  private async save(): Promise<void> {
    if (this.options.checkpointDir === undefined || this.identity === undefined) return;
    const checkpoint = await checkpointOf(this.state, this.identity, this.maker.config.neighbours);
    await writeCheckpoint(this.options.checkpointDir, checkpoint);
    this.savedAt = performance.now();
  }

  dispose(): void {
    this.state.network.dispose();
    this.state.adam.dispose();
  }
}

/** Similarities on the tensor backend: about ten times faster than plain JS on wasm. */
const backendSimilarityBlock: SimilarityBlock = async (memory, first, last) => {
  const products = tf.tidy(() => {
    const rows = tf.tensor2d(memory.values, [memory.rows, memory.dimension]);
    const queries = tf.slice(rows, [first, 0], [last - first, memory.dimension]);
    return tf.matMul(queries, tf.transpose(rows));
  });
  const values = await readTensor(products);
  products.dispose();
  return values;
};
