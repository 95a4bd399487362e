/**
 * Scores batches in worker threads, with the best engine that works.
 *
 * Files of src/pool run in the main thread; `workers/` holds what runs in a worker thread. `messages.ts` and `slots.ts`
 * are shared: they define the messages between the two, and the layout of the memory that both read and write.
 */
import type { EngineConfig } from '../config/sections/engine.js';
import type { EngineName, EngineRun } from '../engines/engine.js';
import { candidateEngines } from '../engines/selection/select.js';
import { SaladError } from '../errors/index.js';
import { type Logger, silentLogger } from '../telemetry/logger.js';
import type { EngineStart } from './engine-starter.js';
import { Failover, type FailoverCounts, type FailoverOptions, WARM_UP_MS } from './failover.js';
import { EngineLoss } from './messages.js';
import type { PoolModel, PoolModelStatus } from './models.js';
import { startWorkerSet, type WorkerSetOptions } from './start-worker-set.js';
import { tryModel } from './try-model.js';
import type { PoolSlot, WorkerSet } from './worker-set.js';

export type { PoolModel, PoolModelStatus } from './models.js';
export type { PoolSlot } from './worker-set.js';

/** The settings that the pool reads. */
export type PoolConfig = WorkerSetOptions['config'] &
  FailoverOptions['config'] &
  Pick<EngineConfig, 'engine'>;

export interface EnginePoolOptions extends WorkerSetOptions {
  readonly config: PoolConfig;
  readonly logger?: Logger;
}

export class EnginePool {
  /** Why requested models are not served, by key: the engine of the start did not reproduce their golden scores. */
  readonly refused: ReadonlyMap<string, Error>;
  private readonly failover: Failover;
  private readonly logger: Logger;
  /** Every worker set that is started has these. */
  private models: readonly PoolModel[];

  /** @param options without models: those of the start would never be freed */
  private constructor(
    private readonly options: Omit<EnginePoolOptions, 'models'>,
    models: readonly PoolModel[],
    first: WorkerSet,
  ) {
    this.logger = options.logger ?? silentLogger();
    this.refused = first.refused;
    this.models = models.filter(({ key }) => !first.refused.has(key));
    this.failover = new Failover(first, {
      config: options.config,
      logger: this.logger,
      startWorkerSet: (start) => startSet({ ...options, models: this.models }, start),
    });
  }

  /**
   * Starts the best engine the options allow.
   * @throws SaladError CONFIGURATION_INVALID, ENGINE_UNAVAILABLE, BUNDLE_INVALID
   */
  static async start(options: EnginePoolOptions): Promise<EnginePool> {
    const { models } = options;
    if (models.length === 0) throw new SaladError('CONFIGURATION_INVALID', 'there is no model to serve');
    const duplicate = models.find(({ key }, index) => models.findIndex((other) => other.key === key) < index);
    if (duplicate !== undefined) throw new SaladError('INTERNAL', `model ${duplicate.key} was given twice`);
    const engines = candidateEngines(options.config.engine);
    const first = await startSet(options, { engines, warmUpMs: WARM_UP_MS, requireAll: false });
    const { models: _ofTheStart, ...others } = options;
    return new EnginePool(others, models, first);
  }

  /** The engine that serves; while none does, the one that served last. */
  get engine(): EngineName {
    return this.failover.latest.engine;
  }

  get device(): string {
    return this.failover.latest.device;
  }

  get workerCount(): number {
    return this.failover.latest.workerCount;
  }

  /** The engine chosen at the start and those after it, best first. */
  get fallbackOrder(): readonly EngineName[] {
    return this.failover.fallbackOrder;
  }

  /** False from the loss of an engine until another has taken over. */
  get isServing(): boolean {
    return this.failover.serving !== undefined;
  }

  /** The engine that takes over at once when the present one is lost. */
  get standbyEngine(): EngineName | undefined {
    return this.failover.standbyEngine;
  }

  get failovers(): FailoverCounts {
    return this.failover.counts;
  }

  /** Called whenever an engine begins to serve or is lost. */
  onChange(listener: () => void): void {
    this.failover.onChange(listener);
  }

  /** 0 while no engine serves. */
  get freeSlots(): number {
    return this.failover.serving?.freeSlots ?? 0;
  }

  /** Slots beside `freeSlots` for urgent batches only. */
  get freeUrgentSlots(): number {
    return this.failover.serving?.freeUrgentSlots ?? 0;
  }

  acquire(urgent = false): PoolSlot | undefined {
    return this.failover.serving?.acquire(urgent);
  }

  /** Returns the slot to its worker set. A lost engine may still write into its slots, so they are never used again. */
  release(slot: PoolSlot): void {
    slot.owner.release(slot);
  }

  maxBatchSize(model: string): number {
    return this.modelStatus(model)?.maxBatchSize ?? 1;
  }

  modelStatus(model: string): PoolModelStatus | undefined {
    return this.failover.latest.statuses.get(model);
  }

  /**
   * Scores the first `count` tiles of the slot in place.
   * @throws SaladError ENGINE_FAILED; the tiles may be tried again in another slot, perhaps of another engine.
   */
  async run(model: string, slot: PoolSlot, count: number, urgent = false): Promise<EngineRun> {
    if (this.failover.isClosed) throw new SaladError('ENGINE_FAILED', 'the engine pool is closed');
    const { owner } = slot;
    // Before the run: a model may be removed during a run whose streams have ended.
    const { precision } = owner.statuses.get(model)!;
    const computeMs = await owner.run(model, slot, count, urgent);
    return { engine: owner.engine, precision, computeMs };
  }

  /** Whether `run` failed because an engine was lost, which need not be the fault of its tiles. */
  isLoss(error: unknown): boolean {
    return error instanceof EngineLoss;
  }

  /**
   * Adds a model while the pool serves: tries it in a thread of its own, then loads it in every thread of the engine
   * that serves, one after another, and of the standby.
   * @param similar a model that is served and whose batches take as long, such as another version with the same network
   * @throws SaladError BUNDLE_INVALID; ENGINE_FAILED where no engine serves now, or one was lost meanwhile
   */
  async add(model: PoolModel, similar?: string): Promise<void> {
    await this.failover.betweenStarts(async () => {
      if (this.models.some(({ key }) => key === model.key)) {
        throw new SaladError('INTERNAL', `model ${model.key} was given twice`);
      }
      let set = this.servingSet();
      // The standby may have taken over meanwhile.
      for (; !set.has(model.key); set = this.servingSet()) {
        await set.add(model, await this.try(model, set, similar));
      }
      this.models = [...this.models, model];
      await this.addToStandby(model, similar);
    });
  }

  /**
   * Removes a model from every thread. Its batches in flight finish; none may follow.
   * @throws SaladError ENGINE_FAILED where the engine is lost by it; the model is removed all the same
   */
  async remove(key: string): Promise<void> {
    await this.failover.betweenStarts(async () => {
      this.models = this.models.filter((model) => model.key !== key);
      const { serving, standby } = this.failover;
      for (const set of [serving, standby]) if (set?.has(key)) await set.remove(key);
    });
  }

  /** @throws SaladError ENGINE_FAILED */
  private servingSet(): WorkerSet {
    const { serving, isClosed } = this.failover;
    if (isClosed) throw new SaladError('ENGINE_FAILED', 'the engine pool is closed');
    if (serving === undefined) throw new SaladError('ENGINE_FAILED', 'no engine serves now; try again later');
    return serving;
  }

  /** @returns its batch sizes; undefined where the engine owns its device, so that no other thread may try the model */
  private async try(model: PoolModel, set: WorkerSet, similar = ''): Promise<PoolModelStatus | undefined> {
    const { engine } = set;
    const measured = set.statuses.get(similar);
    if (set.ownsDevice) return measured;
    return tryModel(this.options, model, {
      engine,
      preference: this.options.config.engine,
      warmUpMs: WARM_UP_MS,
      limitMs: TRIAL_LIMIT_MS,
      similar: measured,
      onError: (error) => this.logger.warn({ err: error, model: model.key }, 'a model that was tried failed'),
    });
  }

  /** A standby that cannot have the model is given up: it could not serve all models. */
  private async addToStandby(model: PoolModel, similar?: string): Promise<void> {
    const { standby } = this.failover;
    if (standby === undefined || standby.has(model.key)) return;
    try {
      await standby.add(model, await this.try(model, standby, similar));
    } catch (error) {
      const { engine } = standby;
      this.logger.warn(
        { err: error, engine, model: model.key },
        'the standby engine does not take the model',
      );
      this.failover.closeStandby();
    }
  }

  /** Waits for batches in engines, then ends the threads. */
  async close(): Promise<void> {
    await this.failover.close();
  }
}

/** A thread of low priority may be slow on a busy machine; only the caller of `add` waits for it. */
const TRIAL_LIMIT_MS = 300_000;

function startSet(options: EnginePoolOptions, start: EngineStart): Promise<WorkerSet> {
  const logger = options.logger ?? silentLogger();
  return startWorkerSet(options, {
    ...start,
    preference: options.config.engine,
    onError: (error) => logger.error({ err: error }, 'an engine worker failed'),
  });
}
