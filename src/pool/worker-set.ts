/** Main thread. The threads that run one engine, with slots of their own. A lost engine ends its whole set. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { EngineName } from '../engines/engine.js';
import { SaladError } from '../errors/index.js';
import { fromErrorData } from '../errors/transfer.js';
import {
  type AddResult,
  EngineLoss,
  type SelectResult,
  type WorkerModel,
  type WorkerResult,
  type WorkerTask,
} from './messages.js';
import type { ModelSlot } from './model-slot.js';
import { fitIntoSlots, type PoolModel, type PoolModelStatus } from './models.js';
import { SetSlots } from './set-slots.js';
import { LimitPassed, withinLimit } from './wait-limit.js';
import { measureModel, planBatches, planWithin } from './warm-up.js';
import { Watchdog } from './watchdog.js';
import { ALL_SLOTS_PER_WORKER, type Thread, unexpected, type WorkerThreads } from './worker-threads.js';

/** What the threads of a set were started with. */
export interface WorkerSetInit {
  readonly selected: SelectResult;
  readonly workerCount: number;
  /** Those that the engine serves. */
  readonly models: readonly WorkerModel[];
  /** At least ALL_SLOTS_PER_WORKER for each worker. */
  readonly slots: readonly SharedArrayBuffer[];
  /** Settings. */
  readonly engineWatchdogMs: number;
  readonly maxBatchSize: number;
}

export interface WarmUpOptions {
  /** For measuring one model. */
  readonly budgetMs: number;
  /** See StartOptions. */
  readonly measured: ReadonlyMap<string, PoolModelStatus> | undefined;
}

/** A batch slot, owned by the caller from `acquire` to `release`. */
export type PoolSlot = ModelSlot<WorkerSet>;

/** Far longer than a batch takes, and short enough that an engine that hangs does not keep the server from stopping. */
const CLOSE_GRACE_MS = 10_000;
/** Tiles of the first batches of a model that could not be measured elsewhere. */
const UNMEASURED_PIECE = 8;
/** A thread that has not added or removed a model by then hangs. Kernels may have to be compiled, indexes read. */
const CHANGE_LIMIT_MS = 60_000;

export class WorkerSet {
  private readonly statusByModel = new Map<string, PoolModelStatus>();
  /** Every task without an answer, also where its run was already rejected because the engine was lost. */
  private readonly unanswered = new Set<Promise<WorkerResult>>();
  /** Rejects each run that has not settled. */
  private readonly pendingRejects = new Set<(loss: EngineLoss) => void>();
  private readonly watchdog: Watchdog;
  private readonly selected: SelectResult;
  /** By key. */
  private readonly models: Map<string, WorkerModel>;
  private readonly slots: SetSlots<WorkerSet>;
  private readonly maxBatchSize: number;
  readonly workerCount: number;
  private loss: EngineLoss | undefined;
  private threadsEnded: Promise<void> | undefined;
  /** Called once, when the engine is lost. */
  onLoss: ((loss: EngineLoss) => void) | undefined;

  constructor(
    private readonly threads: WorkerThreads,
    { selected, workerCount, models, slots, engineWatchdogMs, maxBatchSize }: WorkerSetInit,
  ) {
    this.selected = selected;
    this.workerCount = workerCount;
    this.maxBatchSize = maxBatchSize;
    this.models = new Map(models.map((model) => [model.key, model]));
    this.watchdog = new Watchdog(engineWatchdogMs);
    this.slots = new SetSlots<WorkerSet>(this, workerCount, slots, this.models);
  }

  get engine(): EngineName {
    return this.selected.engine;
  }

  get device(): string {
    return this.selected.device;
  }

  /** Whether a thread that never ends would keep this engine from starting again in this process. */
  get ownsDevice(): boolean {
    return this.selected.maxWorkers === 1;
  }

  /** Why requested models are not served, by key. */
  get refused(): ReadonlyMap<string, Error> {
    const entries = Object.entries(this.selected.refused);
    return new Map(entries.map(([key, error]) => [key, fromErrorData(error)]));
  }

  get freeSlots(): number {
    return this.slots.free;
  }

  get freeUrgentSlots(): number {
    return this.slots.freeUrgent;
  }

  /** By model key. */
  get statuses(): ReadonlyMap<string, PoolModelStatus> {
    return this.statusByModel;
  }

  acquire(urgent = false): PoolSlot | undefined {
    return this.slots.acquire(urgent);
  }

  release(slot: PoolSlot): void {
    this.slots.release(slot);
  }

  /**
   * Scores the first `count` tiles of the slot in place.
   * @returns the engine's time in ms
   * @throws SaladError ENGINE_FAILED; EngineLoss where the engine is lost, also through another batch. The content of
   *     the slot must not be read then: a thread may still write to it.
   */
  run(model: string, slot: PoolSlot, count: number, urgent = false): Promise<number> {
    const status = this.statusByModel.get(model);
    const { engine } = this;
    const pieceSize = status?.pieceSize ?? count;
    const task = { type: 'run', engine, model, slot: slot.index, count, pieceSize, urgent } as const;
    return new Promise((resolve, reject) => {
      if (this.loss !== undefined) return reject(this.loss);
      const thread = this.threads.leastBusy();
      const unwatch = status === undefined ? () => {} : this.watch(status, count, thread);
      this.pendingRejects.add(reject);
      this.send(task, thread)
        .then((result) => {
          if (result.type !== 'ran') throw unexpected(result);
          resolve(result.computeMs);
        })
        .catch((error: unknown) => {
          reject(SaladError.from(error));
          if (error instanceof EngineLoss) this.declareLost(error);
        })
        .finally(() => {
          unwatch();
          this.pendingRejects.delete(reject);
        });
    });
  }

  /** Finds the batch sizes of every model. Call once, before the set serves. */
  async warmUp({ budgetMs, measured }: WarmUpOptions): Promise<void> {
    try {
      for (const model of this.models.values()) {
        const facts = this.selected.models[model.key]!;
        const earlier = measured?.get(model.key);
        if (earlier !== undefined) await this.runOnAllWorkers(model.key, earlier.pieceSize);
        const run = (batchSize: number) => this.runOnAllWorkers(model.key, batchSize);
        const { capacity } = model;
        const options = { capacity, budgetMs, isSizeGiven: this.maxBatchSize > 0 };
        const status = earlier ?? (await measureModel(run, options));
        this.statusByModel.set(model.key, { ...status, ...facts });
      }
    } catch (error) {
      this.watchdog.stop();
      throw error;
    }
  }

  /** Whether this set serves the model. */
  has(key: string): boolean {
    return this.statusByModel.has(key);
  }

  /**
   * Adds a model to every thread, one after another, while the set serves: loads it, runs its golden check and a batch.
   * @param plan its batch sizes, as measured in another set of this engine; absent: as its first batches suggest
   * @throws SaladError BUNDLE_INVALID, or what the engine threw; no thread keeps the model then. EngineLoss where a
   *   thread crashed or hangs: the whole set is lost.
   */
  async add(model: PoolModel, plan?: PoolModelStatus): Promise<void> {
    const added = fitIntoSlots(model, this.maxBatchSize, this.threads.setup.slots);
    const { capacity } = added;
    const given = plan === undefined ? undefined : { ...plan, ...planWithin(plan, capacity) };
    const pieceSize = given?.pieceSize ?? Math.min(UNMEASURED_PIECE, capacity);
    const task = { type: 'add', engine: this.engine, model: added, pieceSize } as const;
    const results: AddResult[] = [];
    try {
      await this.threads.changeModels(async (thread) => {
        const result = await this.change(task, thread);
        if (result.type !== 'added') throw unexpected(result);
        results.push(result);
      });
    } catch (error) {
      if (this.loss === undefined) await this.remove(model.key);
      throw error;
    }
    const { search, precision } = results[0]!;
    const curve = [{ batchSize: pieceSize, latencyMs: Math.max(...results.map(({ batchMs }) => batchMs)) }];
    const status = given ?? { ...planBatches(curve, capacity), curve };
    this.threads.setup.models.push(added);
    this.models.set(model.key, added);
    this.statusByModel.set(model.key, { ...status, search, precision });
  }

  /** Removes a model from every thread, after its batches in flight. No further batch of it may follow. */
  async remove(key: string): Promise<void> {
    this.statusByModel.delete(key);
    this.models.delete(key);
    const { models } = this.threads.setup;
    const index = models.findIndex((model) => model.key === key);
    if (index >= 0) models.splice(index, 1);
    await this.threads.changeModels((thread) => this.change({ type: 'remove', model: key }, thread));
    this.slots.forget(key);
  }

  /** Batches in flight finish, then the threads end. */
  async closeWhenIdle(): Promise<void> {
    await this.allAnswered();
    await this.endThreads();
  }

  /**
   * Waits for batches in engines before it ends the threads: ending a thread inside a native engine ends the whole
   * process, because the addon throws where no handler can catch it. An engine that hung has had its time already.
   */
  async close(): Promise<void> {
    const graceMs = this.loss?.loss === 'hung' ? 0 : CLOSE_GRACE_MS;
    await Promise.race([this.allAnswered(), sleep(graceMs, undefined, { ref: false })]);
    await this.endThreads();
  }

  /** Not used during warm-up: an engine may compile for minutes at the first batch of a size. */
  private watch({ curve }: PoolModelStatus, count: number, thread: Thread): () => void {
    const [smallest] = curve;
    // The thread may have to finish the batches before it first.
    const expectedMs =
      smallest === undefined ? 0 : (ALL_SLOTS_PER_WORKER * count * smallest.latencyMs) / smallest.batchSize;
    const onHung = () =>
      this.declareLost(new EngineLoss('hung', `${this.engine} gave no answer to a batch of ${count} tiles`));
    // Loading a model may take longer than any batch; `change` has a limit of its own.
    return this.watchdog.watch(expectedMs, onHung, () => thread.isChangingModels);
  }

  /** Sends a task that changes the models of a thread. @throws SaladError; EngineLoss where the set is lost by it */
  private async change(task: WorkerTask, thread: Thread): Promise<WorkerResult> {
    try {
      return await withinLimit(this.send(task, thread), CHANGE_LIMIT_MS, `${this.engine}: ${task.type}`);
    } catch (error) {
      const loss = error instanceof LimitPassed ? new EngineLoss('hung', error.message) : error;
      if (loss instanceof EngineLoss) this.declareLost(loss);
      throw loss;
    }
  }

  private declareLost(loss: EngineLoss): void {
    if (this.loss !== undefined) return;
    this.loss = loss;
    this.watchdog.stop();
    for (const reject of this.pendingRejects) reject(loss);
    this.pendingRejects.clear();
    this.onLoss?.(loss);
  }

  private async allAnswered(): Promise<void> {
    await Promise.allSettled(this.unanswered);
  }

  private endThreads(): Promise<void> {
    this.watchdog.stop();
    this.threadsEnded ??= this.threads.destroy();
    return this.threadsEnded;
  }

  private async send(task: WorkerTask, thread: Thread): Promise<WorkerResult> {
    const answer = this.threads.run(task, thread);
    this.unanswered.add(answer);
    try {
      return await answer;
    } finally {
      this.unanswered.delete(answer);
    }
  }

  /** Runs one batch on every worker at once: cores share caches and memory. @returns the engine's mean time in ms */
  private async runOnAllWorkers(key: string, batchSize: number): Promise<number> {
    const slots = this.slots.acquireForAllWorkers();
    try {
      const timesMs = await Promise.all(slots.map((slot) => this.run(key, slot, batchSize)));
      return timesMs.reduce((sum, timeMs) => sum + timeMs, 0) / timesMs.length;
    } finally {
      for (const slot of slots) this.release(slot);
    }
  }
}
