/** Threads that run one engine, with slots of their own. When the engine is lost, all of it is given up. */
import { availableParallelism } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import type { EngineName, OnnxProvider, SearchOptions } from '../engines/engine.js';
import { SaladError } from '../errors/index.js';
import { fromErrorData } from '../errors/transfer.js';
import {
  EngineLoss,
  type SelectResult,
  type WorkerModel,
  type WorkerResult,
  type WorkerTask,
} from './messages.js';
import { type PoolModel, type PoolModelStatus, withCapacity } from './models.js';
import { allocateSlots, type SlotView, slotBytes, viewSlot } from './slots.js';
import { ALL_SLOTS_PER_WORKER, SLOTS_PER_WORKER, Threads, unexpected, workerEntry } from './threads.js';
import { LimitPassed, withinLimit } from './time-limit.js';
import { measureLatencies, planBatches } from './warm-up.js';
import { Watchdog } from './watchdog.js';

export interface WorkerSetOptions {
  readonly models: readonly PoolModel[];
  /** Threads; 0 = one for every `sessionThreads` cores this process may use. */
  readonly workers: number;
  /** Of each session, on engines whose sessions can have several; 0 = 1. @default 0 */
  readonly sessionThreads?: number;
  /** See EngineOptions. */
  readonly openvinoFolder?: string;
  /** See EngineOptions. */
  readonly onnxProvider?: OnnxProvider;
  /** Tiles; 0 = as measured at warm-up. */
  readonly maxBatchSize: number;
  /** How banks are searched, where that is not to be left to the defaults. */
  readonly search?: SearchOptions;
  /** A batch without an answer for this long (and 20 times what it should take) means that the engine hangs. */
  readonly watchdogMs: number;
  /** File of the worker threads. @default the worker of this package */
  readonly workerEntry?: string | undefined;
}

export interface StartOptions {
  /** The first that reproduces the golden scores of every model serves. */
  readonly engines: readonly EngineName[];
  /** Where none does: false = the one that does so for the most serves those, and `refused` has the others. */
  readonly requireAll: boolean;
  /** Whether an engine was asked for by name: then it may also stand on an emulation. */
  readonly preference: EngineName | 'auto';
  /** For measuring batch sizes. */
  readonly warmUpMs: number;
  /** What an earlier set of the same engine measured: it is not measured again. */
  readonly known?: ReadonlyMap<string, PoolModelStatus>;
  /** An engine that is not ready by then is given up. @default no limit */
  readonly limitMs?: number;
  /** Receives errors raised outside a run, such as a worker that died idle. */
  readonly onError: (error: Error) => void;
}

/** A batch slot, owned by the caller from `acquire` to `release`. */
export interface PoolSlot {
  readonly index: number;
  readonly owner: WorkerSet;
  /** For urgent tiles alone. */
  readonly isUrgent: boolean;
  /** The slot as batches of this model lie in it. */
  view(model: string): SlotView;
}

/** A batch takes far less; an engine that hangs must not keep the server from stopping. */
const CLOSE_GRACE_MS = 10_000;

export class WorkerSet {
  private readonly free: PoolSlot[] = [];
  private readonly freeForUrgent: PoolSlot[] = [];
  private readonly status = new Map<string, PoolModelStatus>();
  /** Whatever the threads have not answered yet, also after its caller was told of the loss. */
  private readonly running = new Set<Promise<WorkerResult>>();
  private readonly waiting = new Set<(loss: EngineLoss) => void>();
  private readonly watchdog: Watchdog;
  private lost: EngineLoss | undefined;
  private ended: Promise<void> | undefined;
  /** Called once on failure. */
  onLoss: ((loss: EngineLoss) => void) | undefined;

  private constructor(
    private readonly threads: Threads,
    private readonly selected: SelectResult,
    readonly workerCount: number,
    private readonly models: readonly WorkerModel[],
    slots: readonly SharedArrayBuffer[],
    watchdogMs: number,
  ) {
    this.watchdog = new Watchdog(watchdogMs);
    slots.slice(0, workerCount * ALL_SLOTS_PER_WORKER).forEach((buffer, index) => {
      const isUrgent = index >= workerCount * SLOTS_PER_WORKER;
      this.release(createSlot({ owner: this, index, isUrgent }, buffer, models));
    });
  }

  /**
   * Starts the threads, chooses the engine, loads every model in every thread and finds the batch limits.
   * @throws SaladError ENGINE_UNAVAILABLE, ENGINE_FAILED, BUNDLE_INVALID
   */
  static async start(options: WorkerSetOptions, start: StartOptions): Promise<WorkerSet> {
    const workers = options.workers > 0 ? options.workers : availableParallelism();
    const sessionThreads = Math.max(1, options.sessionThreads ?? 0);
    const models = options.models.map((model) => withCapacity(model, options.maxBatchSize));
    const bytes = Math.max(...models.map(({ shape, capacity }) => slotBytes(shape, capacity)));
    const slots = allocateSlots(workers * ALL_SLOTS_PER_WORKER, bytes);
    const { openvinoFolder = '', onnxProvider = 'cpu' } = options;
    const engineOptions = { sessionThreads, openvinoFolder, onnxProvider };
    const setup = { models, slots, search: options.search ?? {}, engineOptions };
    const { workerEntry: entry = workerEntry() } = options;
    const threads = new Threads(setup, { entry, onError: start.onError });
    const prove = async () => {
      const { engines, preference, requireAll } = start;
      // One to begin with: it chooses the engine, and an engine that owns its device gets no second thread.
      threads.growTo(1);
      const selected = await threads.run({ type: 'select', engines, preference, requireAll });
      if (selected.type !== 'selected') throw unexpected(selected);
      const perSession = options.workers === 0 && selected.threaded ? sessionThreads : 1;
      const count = Math.min(Math.ceil(workers / perSession), selected.maxWorkers ?? workers);
      threads.growTo(count);
      await threads.load(selected);
      const served = models.filter(({ key }) => key in selected.models);
      const set = new WorkerSet(threads, selected, count, served, slots, options.watchdogMs);
      try {
        await set.warmUp(options.maxBatchSize, start);
      } catch (error) {
        set.watchdog.stop();
        throw error;
      }
      return set;
    };
    const proving = prove();
    // Ended also where nobody waits any more, but never while a thread is inside a native engine.
    const endOnFailure = proving.catch(() => threads.destroy());
    try {
      return await withinLimit(proving, start.limitMs, start.engines.join(', '));
    } catch (error) {
      if (error instanceof LimitPassed) void proving.then((set) => set.close()).catch(start.onError);
      else await endOnFailure;
      throw error;
    }
  }

  get engine(): EngineName {
    return this.selected.engine;
  }

  get device(): string {
    return this.selected.device;
  }

  /** Whether a thread that never ends would keep this engine from starting anew in this process. */
  get ownsDevice(): boolean {
    return this.selected.maxWorkers === 1;
  }

  /** Why models that were asked for are not served, by key. */
  get refused(): ReadonlyMap<string, Error> {
    const entries = Object.entries(this.selected.refused);
    return new Map(entries.map(([key, error]) => [key, fromErrorData(error)]));
  }

  get isLost(): boolean {
    return this.lost !== undefined;
  }

  get freeSlots(): number {
    return this.free.length;
  }

  get statuses(): ReadonlyMap<string, PoolModelStatus> {
    return this.status;
  }

  get freeUrgentSlots(): number {
    return this.freeForUrgent.length;
  }

  acquire(urgent = false): PoolSlot | undefined {
    return this.free.pop() ?? (urgent ? this.freeForUrgent.pop() : undefined);
  }

  release(slot: PoolSlot): void {
    (slot.isUrgent ? this.freeForUrgent : this.free).push(slot);
  }

  /**
   * Scores the first `count` tiles of the slot in place.
   * @returns the engine's time in ms
   * @throws SaladError ENGINE_FAILED; EngineLoss where the engine is gone, also through another batch. What is
   *     in the slot then may still be written to: it must not be read.
   */
  run(model: string, slot: PoolSlot, count: number, urgent = false): Promise<number> {
    const status = this.status.get(model);
    const { engine } = this;
    const pieceSize = status?.pieceSize ?? count;
    const task = { type: 'run', engine, model, slot: slot.index, count, pieceSize, urgent } as const;
    return new Promise((resolve, reject) => {
      if (this.lost !== undefined) return reject(this.lost);
      const unwatch = status === undefined ? () => {} : this.watch(status, count);
      this.waiting.add(reject);
      this.exchange(task)
        .then((result) => {
          if (result.type !== 'ran') throw unexpected(result);
          resolve(result.computeMs);
        })
        .catch((error: unknown) => {
          reject(SaladError.from(error));
          if (error instanceof EngineLoss) this.giveUp(error);
        })
        .finally(() => {
          unwatch();
          this.waiting.delete(reject);
        });
    });
  }

  /** Batches in flight finish, then the threads end. */
  async retire(): Promise<void> {
    await this.answered();
    await this.end();
  }

  /**
   * Waits for batches in engines before it ends the threads: a thread ended inside a native engine takes the whole
   * process with it (the addon throws where nobody can catch). One that hung had its time already.
   */
  async close(): Promise<void> {
    const grace = this.lost?.loss === 'hung' ? 0 : CLOSE_GRACE_MS;
    await Promise.race([this.answered(), sleep(grace, undefined, { ref: false })]);
    await this.end();
  }

  /** Not at warm-up: an engine may compile for minutes when it sees a batch size for the first time. */
  private watch({ curve }: PoolModelStatus, count: number): () => void {
    const [one] = curve;
    // The batches before it in the same thread count too.
    const measuredMs = one === undefined ? 0 : (ALL_SLOTS_PER_WORKER * count * one.latencyMs) / one.batchSize;
    return this.watchdog.watch(measuredMs, () => {
      this.giveUp(new EngineLoss('hung', `${this.engine} gave no answer to a batch of ${count} tiles`));
    });
  }

  private giveUp(loss: EngineLoss): void {
    if (this.lost !== undefined) return;
    this.lost = loss;
    this.watchdog.stop();
    for (const reject of this.waiting) reject(loss);
    this.waiting.clear();
    this.onLoss?.(loss);
  }

  private async answered(): Promise<void> {
    await Promise.allSettled(this.running);
  }

  private end(): Promise<void> {
    this.watchdog.stop();
    this.ended ??= this.threads.destroy();
    return this.ended;
  }

  private async exchange(task: WorkerTask): Promise<WorkerResult> {
    const answer = this.threads.run(task);
    this.running.add(answer);
    try {
      return await answer;
    } finally {
      this.running.delete(answer);
    }
  }

  private async warmUp(maxBatchSize: number, { warmUpMs, known }: StartOptions): Promise<void> {
    for (const { key, capacity } of this.models) {
      const facts = this.selected.models[key]!;
      const before = known?.get(key);
      if (before !== undefined) {
        await this.runEverywhere(key, before.pieceSize);
        this.status.set(key, { ...before, ...facts });
        continue;
      }
      const given = maxBatchSize > 0;
      const curve = await measureLatencies((batchSize) => this.runEverywhere(key, batchSize), {
        capacity,
        budgetMs: given ? 0 : warmUpMs,
        now: () => performance.now(),
      });
      const plan = given ? { pieceSize: capacity, maxBatchSize: capacity } : planBatches(curve, capacity);
      this.status.set(key, { ...plan, curve, ...facts });
    }
  }

  /** One batch on every worker at once: cores share caches and memory. @returns the engine's mean time in ms */
  private async runEverywhere(key: string, batchSize: number): Promise<number> {
    const slots = this.free.splice(0, this.workerCount);
    try {
      const times = await Promise.all(slots.map((slot) => this.run(key, slot, batchSize)));
      return times.reduce((sum, time) => sum + time, 0) / times.length;
    } finally {
      for (const slot of slots) this.release(slot);
    }
  }
}

function createSlot(
  slot: Omit<PoolSlot, 'view'>,
  buffer: SharedArrayBuffer,
  models: readonly WorkerModel[],
): PoolSlot {
  const views = new Map(models.map(({ key, shape, capacity }) => [key, viewSlot(buffer, shape, capacity)]));
  return {
    ...slot,
    view(model) {
      const view = views.get(model);
      if (view === undefined) throw new SaladError('INTERNAL', `the pool does not know model ${model}`);
      return view;
    },
  };
}
