/** Worker threads that run engines on shared-memory slots. Nothing but numbers and names crosses. */
import { availableParallelism } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { Piscina } from 'piscina';
import type { EngineName, SearchOptions } from '../engines/engine.js';
import { SaladError } from '../errors/index.js';
import {
  errorFrom,
  type WorkerModel,
  type WorkerResult,
  type WorkerSetup,
  type WorkerTask,
} from './messages.js';
import { type SlotShape, type SlotView, slotBytes, viewSlot } from './slots.js';
import { BATCH_SIZES, type BatchLatency, type BatchPlan, measureLatencies, planBatches } from './warm-up.js';

/** A model to serve: where it lies and how big its batches are. */
export interface PoolModel {
  readonly key: string;
  readonly directory: string;
  readonly sha256: string;
  readonly shape: SlotShape;
}

export interface EnginePoolOptions {
  readonly engine: EngineName | 'auto';
  /** Threads; 0 = one per core this process may use. */
  readonly workers: number;
  /** Tiles; 0 = as measured at warm-up. */
  readonly maxBatchSize: number;
  readonly models: readonly PoolModel[];
  /** How banks are searched, where that is not to be left to the defaults. */
  readonly search?: SearchOptions;
  /** Told of what nobody waits for, such as a worker that died idle. */
  readonly onError?: (error: Error) => void;
}

/** One slot, in the hands of whoever acquired it. */
export interface PoolSlot {
  readonly index: number;
  /** The slot as batches of this model lie in it. */
  view(model: string): SlotView;
}

export interface PoolModelStatus extends BatchPlan {
  /** Empty where the limit was given. */
  readonly curve: readonly BatchLatency[];
  /** How the bank is searched, for people. */
  readonly search: string;
}

/** piscina does not name it. */
type LoadBalancer = NonNullable<NonNullable<ConstructorParameters<typeof Piscina>[0]>['loadBalancer']>;

/** A slot never grows past this, whatever the tile size. */
const SLOT_BYTES_MAX = 64 * 1024 * 1024;
const WARM_UP_BUDGET_MS = 600;
/** A batch takes far less; an engine that hangs must not keep the server from stopping. */
const CLOSE_GRACE_MS = 10_000;
/**
 * A second slot per worker is filled and handed over while the first is computed, so that a worker never waits
 * for the main thread.
 */
const SLOTS_PER_WORKER = 2;

export class EnginePool {
  private readonly free: PoolSlot[] = [];
  private readonly status = new Map<string, PoolModelStatus>();
  private readonly running = new Set<Promise<WorkerResult>>();
  private crashNext = false;
  private closed = false;

  private constructor(
    private readonly piscina: Piscina<WorkerTask, WorkerResult>,
    readonly engine: EngineName,
    readonly device: string,
    readonly workerCount: number,
    private readonly models: readonly WorkerModel[],
    private readonly searches: Readonly<Record<string, string>>,
    slots: readonly SharedArrayBuffer[],
  ) {
    slots.slice(0, workerCount * SLOTS_PER_WORKER).forEach((buffer, index) => {
      this.free.push(createSlot(buffer, index, models));
    });
  }

  /**
   * Starts the workers, chooses the engine, loads every model in every worker and finds the batch limits.
   * @throws SaladError ENGINE_UNAVAILABLE, BUNDLE_INVALID
   */
  static async start(options: EnginePoolOptions): Promise<EnginePool> {
    if (options.models.length === 0)
      throw new SaladError('CONFIGURATION_INVALID', 'there is no model to serve');
    const workers = options.workers > 0 ? options.workers : availableParallelism();
    const models = options.models.map((model) => withCapacity(model, options.maxBatchSize));
    const bytes = Math.max(...models.map(({ shape, capacity }) => slotBytes(shape, capacity)));
    const slots = Array.from({ length: workers * SLOTS_PER_WORKER }, () => new SharedArrayBuffer(bytes));
    // One to begin with: it chooses the engine, and an engine that owns its device gets no second thread.
    let threads = 1;
    const balancer = pipelining(() => threads);
    const setup = { models, slots, search: options.search ?? {} };
    const piscina = createPiscina(workers, setup, balancer, options.onError);
    try {
      const selected = await exchange(piscina, { type: 'select', preference: options.engine });
      if (selected.type !== 'selected') throw unexpected(selected);
      const { engine, device, maxWorkers, searches } = selected;
      threads = Math.min(workers, maxWorkers ?? workers);
      await loadEverywhere(piscina, engine, threads);
      const pool = new EnginePool(piscina, engine, device, threads, models, searches, slots);
      await pool.warmUp(options.maxBatchSize);
      return pool;
    } catch (error) {
      await piscina.destroy();
      throw error;
    }
  }

  get freeSlots(): number {
    return this.free.length;
  }

  acquire(): PoolSlot | undefined {
    return this.free.pop();
  }

  release(slot: PoolSlot): void {
    this.free.push(slot);
  }

  maxBatchSize(model: string): number {
    return this.status.get(model)?.maxBatchSize ?? 1;
  }

  modelStatus(model: string): PoolModelStatus | undefined {
    return this.status.get(model);
  }

  /** Scores the first `count` tiles of the slot in place. @throws SaladError ENGINE_FAILED */
  async run(
    model: string,
    slot: PoolSlot,
    count: number,
  ): Promise<{ readonly engine: EngineName; readonly computeMs: number }> {
    if (this.closed) throw new SaladError('ENGINE_FAILED', 'the engine pool is closed');
    const pieceSize = this.status.get(model)?.pieceSize ?? count;
    const task = { type: 'run', engine: this.engine, model, slot: slot.index, count, pieceSize } as const;
    const running = exchange(this.piscina, this.crashNext ? { ...task, crash: true } : task);
    this.crashNext = false;
    this.running.add(running);
    try {
      const result = await running;
      if (result.type !== 'ran') throw unexpected(result);
      return { engine: this.engine, computeMs: result.computeMs };
    } finally {
      this.running.delete(running);
    }
  }

  /** For tests of crash recovery: the thread that takes the next batch ends in the middle of it. */
  crashOnNextRun(): void {
    this.crashNext = true;
  }

  /**
   * Waits for batches in engines before it ends the threads: a thread ended inside a native engine takes the whole
   * process with it (the addon throws where nobody can catch).
   */
  async close(): Promise<void> {
    this.closed = true;
    const hung = sleep(CLOSE_GRACE_MS, undefined, { ref: false });
    await Promise.race([Promise.allSettled(this.running), hung]);
    await this.piscina.destroy();
  }

  private async warmUp(maxBatchSize: number): Promise<void> {
    for (const { key, capacity } of this.models) {
      const given = maxBatchSize > 0;
      const curve = await measureLatencies((batchSize) => this.runEverywhere(key, batchSize), {
        capacity,
        budgetMs: given ? 0 : WARM_UP_BUDGET_MS,
        now: () => performance.now(),
      });
      const plan = given ? { pieceSize: capacity, maxBatchSize: capacity } : planBatches(curve, capacity);
      this.status.set(key, { ...plan, curve, search: this.searches[key] ?? '' });
    }
  }

  /** One batch on every worker at once: cores share caches and memory. @returns the engine's mean time in ms */
  private async runEverywhere(key: string, batchSize: number): Promise<number> {
    const slots = this.free.splice(0, this.workerCount);
    try {
      const runs = await Promise.all(slots.map((slot) => this.run(key, slot, batchSize)));
      return runs.reduce((sum, { computeMs }) => sum + computeMs, 0) / runs.length;
    } finally {
      for (const slot of slots) this.release(slot);
    }
  }
}

function createSlot(buffer: SharedArrayBuffer, index: number, models: readonly WorkerModel[]): PoolSlot {
  const views = new Map(models.map(({ key, shape, capacity }) => [key, viewSlot(buffer, shape, capacity)]));
  return {
    index,
    view(model) {
      const view = views.get(model);
      if (view === undefined) throw new SaladError('INTERNAL', `the pool does not know model ${model}`);
      return view;
    },
  };
}

function withCapacity(model: PoolModel, maxBatchSize: number): WorkerModel {
  const wanted = maxBatchSize > 0 ? maxBatchSize : BATCH_SIZES[BATCH_SIZES.length - 1]!;
  const fitting = Math.floor(SLOT_BYTES_MAX / slotBytes(model.shape, 1));
  return { ...model, capacity: Math.max(1, Math.min(wanted, fitting)) };
}

/** Built, the worker is JavaScript beside us; in a checkout run through tsx a small entry registers tsx first. */
function workerEntry(): string {
  const name = import.meta.url.endsWith('.ts') ? 'engine-worker.checkout.mjs' : 'engine-worker.js';
  return fileURLToPath(new URL(`../../workers/${name}`, import.meta.url));
}

function createPiscina(
  workers: number,
  setup: WorkerSetup,
  loadBalancer: LoadBalancer,
  onError: ((error: Error) => void) | undefined,
): Piscina<WorkerTask, WorkerResult> {
  const piscina = new Piscina<WorkerTask, WorkerResult>({
    filename: workerEntry(),
    minThreads: 1,
    maxThreads: workers,
    idleTimeout: Number.POSITIVE_INFINITY,
    concurrentTasksPerWorker: SLOTS_PER_WORKER,
    loadBalancer,
    recordTiming: false,
    workerData: setup,
  });
  piscina.on('error', (error: Error) => onError?.(error));
  return piscina;
}

/**
 * The least busy worker. A second task is given to one only where all threads are there already; until then null,
 * which makes the pool start another.
 */
function pipelining(threads: () => number): LoadBalancer {
  return (_task, workers) => {
    const [first, ...others] = workers;
    if (first === undefined) return null;
    const least = others.reduce(
      (best, worker) => (worker.currentUsage < best.currentUsage ? worker : best),
      first,
    );
    if (least.currentUsage === 0) return least;
    return workers.length >= threads() && least.currentUsage < SLOTS_PER_WORKER ? least : null;
  };
}

async function loadEverywhere(
  piscina: Piscina<WorkerTask, WorkerResult>,
  engine: EngineName,
  count: number,
): Promise<void> {
  const arrived = new SharedArrayBuffer(Int32Array.BYTES_PER_ELEMENT);
  const results = await Promise.allSettled(
    Array.from({ length: count }, () => exchange(piscina, { type: 'load', engine, arrived, count })),
  );
  for (const result of results) if (result.status === 'rejected') throw result.reason;
}

/** @throws SaladError what the worker reported, or ENGINE_FAILED where it died. */
async function exchange(piscina: Piscina<WorkerTask, WorkerResult>, task: WorkerTask): Promise<WorkerResult> {
  let result: WorkerResult;
  try {
    result = await piscina.run(task);
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    throw new SaladError('ENGINE_FAILED', `an engine worker died: ${why}`, { cause: error });
  }
  if (result.type === 'failed') throw errorFrom(result);
  return result;
}

function unexpected(result: WorkerResult): SaladError {
  return new SaladError('INTERNAL', `an engine worker answered ${result.type} out of turn`);
}
