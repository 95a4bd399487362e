/** Main thread. Starts a worker set: its threads, the engine they choose, every model, and the batch sizes. */
import { availableParallelism } from 'node:os';
import type { BatchingConfig } from '../config/sections/batching.js';
import type { EngineConfig } from '../config/sections/engine.js';
import type { EngineName, SearchOptions } from '../engines/engine.js';
import { type PoolModel, type PoolModelStatus, withCapacity } from './models.js';
import { allocateSlots, slotBytes } from './slots.js';
import { LimitPassed, withinLimit } from './wait-limit.js';
import { WorkerSet } from './worker-set.js';
import { ALL_SLOTS_PER_WORKER, unexpected, WorkerThreads, workerEntry } from './worker-threads.js';

/** The settings that a worker set reads. */
export type WorkerSetConfig = Pick<
  EngineConfig,
  'workers' | 'sessionThreads' | 'openvinoFolder' | 'onnxProvider' | 'engineWatchdogMs'
> &
  Pick<BatchingConfig, 'maxBatchSize'>;

export interface WorkerSetOptions {
  readonly config: WorkerSetConfig;
  readonly models: readonly PoolModel[];
  /** @default the cores that this process may use */
  readonly cores?: number | undefined;
  /** How banks are searched, where the defaults do not apply. */
  readonly search?: SearchOptions;
  /** File of the worker threads. @default the worker of this package */
  readonly workerEntry?: string | undefined;
  /** See WorkerSetup. */
  readonly isBackground?: boolean;
}

export interface StartOptions {
  /** Tried in this order; the first that reproduces the golden scores of every model serves. */
  readonly engines: readonly EngineName[];
  /** Where no engine serves all models: false = the one that serves the most is taken, and `refused` has the others. */
  readonly requireAll: boolean;
  /** An engine chosen by name may also run on an emulation. */
  readonly preference: EngineName | 'auto';
  /** Time for measuring batch sizes. */
  readonly warmUpMs: number;
  /** What an earlier set of the same engine measured, by model key; these models are not measured again. */
  readonly measured?: ReadonlyMap<string, PoolModelStatus>;
  /** The start fails where the engine is not ready by then. @default no limit */
  readonly limitMs?: number;
  /** Receives errors raised outside a run, such as a worker that crashed while it was idle. */
  readonly onError: (error: Error) => void;
}

/**
 * Starts the threads, chooses the engine, loads every model in every thread and finds the batch sizes.
 * @throws SaladError ENGINE_UNAVAILABLE, ENGINE_FAILED, BUNDLE_INVALID
 */
export async function startWorkerSet(options: WorkerSetOptions, start: StartOptions): Promise<WorkerSet> {
  const { cores = availableParallelism() } = options;
  const { workers, openvinoFolder, onnxProvider, engineWatchdogMs, maxBatchSize } = options.config;
  const coresOrWorkers = workers > 0 ? workers : cores;
  const sessionThreads = Math.max(1, options.config.sessionThreads);
  const models = options.models.map((model) => withCapacity(model, maxBatchSize));
  const bytes = Math.max(...models.map(({ shape, capacity }) => slotBytes(shape, capacity)));
  const slots = allocateSlots(coresOrWorkers * ALL_SLOTS_PER_WORKER, bytes);
  const engineOptions = { sessionThreads, openvinoFolder, onnxProvider };
  const { search = {}, isBackground = false } = options;
  // A copy: the list changes as models are added and removed.
  const setup = { models: [...models], slots, search, engineOptions, isBackground };
  const threads = new WorkerThreads(setup, {
    entry: options.workerEntry ?? workerEntry(),
    onError: start.onError,
  });
  const startAndCheck = async () => {
    const { engines, preference, requireAll } = start;
    // One thread first: it chooses the engine, and an engine that owns its device gets no second thread.
    threads.growTo(1);
    const selected = await threads.run({ type: 'select', engines, preference, requireAll });
    if (selected.type !== 'selected') throw unexpected(selected);
    const coresPerSession = workers === 0 && selected.canUseSessionThreads ? sessionThreads : 1;
    const workerCount = Math.min(
      Math.ceil(coresOrWorkers / coresPerSession),
      selected.maxWorkers ?? coresOrWorkers,
    );
    threads.growTo(workerCount);
    await threads.load(selected);
    const set = new WorkerSet(threads, {
      selected,
      workerCount,
      models: models.filter(({ key }) => key in selected.models),
      slots,
      engineWatchdogMs,
      maxBatchSize,
    });
    const { warmUpMs: budgetMs, measured } = start;
    await set.warmUp({ budgetMs, measured });
    return set;
  };
  const starting = startAndCheck();
  // The threads end also where the caller no longer waits, but never while one is inside a native engine.
  const endOnFailure = starting.catch(() => threads.destroy());
  try {
    return await withinLimit(starting, start.limitMs, start.engines.join(', '));
  } catch (error) {
    if (error instanceof LimitPassed) void starting.then((set) => set.close()).catch(start.onError);
    else await endOnFailure;
    throw error;
  }
}
