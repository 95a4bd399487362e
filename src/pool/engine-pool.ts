/**
 * Scores batches in worker threads, with the best engine that works.
 *
 * Files of src/pool run in the main thread; `workers/` holds what runs in a worker thread. `messages.ts` and `slots.ts`
 * are shared: they define the messages between the two, and the layout of the memory that both read and write.
 */
import type { EngineName, EngineRun } from '../engines/engine.js';
import { candidateEngines } from '../engines/selection/select.js';
import { SaladError } from '../errors/index.js';
import { type Logger, silentLogger } from '../telemetry/logger.js';
import { type EngineStart, Failover, type FailoverCounts, WARM_UP_MS } from './failover.js';
import { EngineLoss } from './messages.js';
import type { PoolModelStatus } from './models.js';
import { startWorkerSet, type WorkerSetOptions } from './start-worker-set.js';
import type { PoolSlot, WorkerSet } from './worker-set.js';

export type { PoolModel, PoolModelStatus } from './models.js';
export type { PoolSlot } from './worker-set.js';

export interface EnginePoolOptions extends Omit<WorkerSetOptions, 'watchdogMs'> {
  readonly engine: EngineName | 'auto';
  /** @default 5000 */
  readonly watchdogMs?: number;
  /**
   * Wait before a lost engine is started again; doubled with every failure in a row, up to `backOffMaxMs`.
   * @default 30 s
   */
  readonly backOffMs?: number;
  /** @default 10 min */
  readonly backOffMaxMs?: number;
  /** Wait before the next engine is started beside the one that serves, as standby; 0 = no standby. @default 0 */
  readonly standbyDelayMs?: number;
  readonly logger?: Logger;
}

export class EnginePool {
  /** Why requested models are not served, by key: the engine of the start did not reproduce their golden scores. */
  readonly refused: ReadonlyMap<string, Error>;
  private readonly failover: Failover;

  private constructor(options: EnginePoolOptions, first: WorkerSet) {
    const { backOffMs = 30_000, backOffMaxMs = 600_000, standbyDelayMs = 0 } = options;
    const { logger = silentLogger() } = options;
    this.refused = first.refused;
    const served = { ...options, models: options.models.filter(({ key }) => !first.refused.has(key)) };
    this.failover = new Failover(first, {
      backOffMs,
      backOffMaxMs,
      standbyDelayMs,
      logger,
      startWorkerSet: (start) => startSet(served, start),
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
    const engines = candidateEngines(options.engine);
    const first = await startSet(options, { engines, warmUpMs: WARM_UP_MS, requireAll: false });
    return new EnginePool(options, first);
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
    const computeMs = await owner.run(model, slot, count, urgent);
    const { precision } = owner.statuses.get(model)!;
    return { engine: owner.engine, precision, computeMs };
  }

  /** Whether `run` failed because an engine was lost, which need not be the fault of its tiles. */
  isLoss(error: unknown): boolean {
    return error instanceof EngineLoss;
  }

  /** Waits for batches in engines, then ends the threads. */
  async close(): Promise<void> {
    await this.failover.close();
  }
}

function startSet(options: EnginePoolOptions, start: EngineStart): Promise<WorkerSet> {
  const logger = options.logger ?? silentLogger();
  return startWorkerSet(
    { ...options, watchdogMs: options.watchdogMs ?? 5000 },
    {
      ...start,
      preference: options.engine,
      onError: (error) => logger.error({ err: error }, 'an engine worker failed'),
    },
  );
}
