/** Worker threads under piscina: which entry they run, who gets the next task, what an answer means. */
import { fileURLToPath } from 'node:url';
import { Piscina } from 'piscina';
import { SaladError } from '../errors/index.js';
import {
  EngineLoss,
  errorFrom,
  type SelectResult,
  type WorkerResult,
  type WorkerSetup,
  type WorkerTask,
} from './messages.js';

/** piscina does not name it. */
type LoadBalancer = NonNullable<NonNullable<ConstructorParameters<typeof Piscina>[0]>['loadBalancer']>;

export type Threads = Piscina<WorkerTask, WorkerResult>;

/**
 * A second slot per worker is filled and handed over while the first is computed, so that a worker never waits
 * for the main thread.
 */
export const SLOTS_PER_WORKER = 2;

/** One more is for urgent tiles: theirs need not wait for a slot, nor for the batch that waits in it. */
export const URGENT_SLOTS_PER_WORKER = 1;
export const ALL_SLOTS_PER_WORKER = SLOTS_PER_WORKER + URGENT_SLOTS_PER_WORKER;

export interface ThreadOptions {
  /** File of the worker; its default export takes a WorkerTask and resolves to a WorkerResult. */
  readonly entry: string;
  /** Threads that there will ever be. */
  readonly most: number;
  /** Threads that there may be now. */
  readonly now: () => number;
  /** Receives errors that no task waits for. */
  readonly onError: (error: Error) => void;
}

export function createThreads(setup: WorkerSetup, { entry, most, now, onError }: ThreadOptions): Threads {
  const piscina = new Piscina<WorkerTask, WorkerResult>({
    filename: entry,
    minThreads: 1,
    maxThreads: most,
    idleTimeout: Number.POSITIVE_INFINITY,
    concurrentTasksPerWorker: ALL_SLOTS_PER_WORKER,
    loadBalancer: pipelining(now),
    recordTiming: false,
    workerData: setup,
  });
  piscina.on('error', onError);
  return piscina;
}

/** @throws SaladError what the worker reported, or EngineLoss where it died. */
export async function exchange(threads: Threads, task: WorkerTask): Promise<WorkerResult> {
  let result: WorkerResult;
  try {
    result = await threads.run(task);
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    throw new EngineLoss('died', `an engine worker died: ${why}`, { cause: error });
  }
  if (result.type === 'failed') throw errorFrom(result);
  return result;
}

/** The engine and the models in `count` threads. Settles when all have answered. */
export async function loadEverywhere(
  threads: Threads,
  { engine, models }: SelectResult,
  count: number,
): Promise<void> {
  const arrived = new SharedArrayBuffer(Int32Array.BYTES_PER_ELEMENT);
  const task = { type: 'load', engine, models: Object.keys(models), arrived, count } as const;
  const results = await Promise.allSettled(Array.from({ length: count }, () => exchange(threads, task)));
  for (const result of results) if (result.status === 'rejected') throw result.reason;
}

export function unexpected(result: WorkerResult): SaladError {
  return new SaladError('INTERNAL', `an engine worker answered ${result.type} out of turn`);
}

/** Built, the worker is JavaScript beside us; in a checkout run through tsx a small entry registers tsx first. */
export function workerEntry(): string {
  const name = import.meta.url.endsWith('.ts') ? 'engine-worker.checkout.mjs' : 'engine-worker.js';
  return fileURLToPath(new URL(`../../workers/${name}`, import.meta.url));
}

/**
 * The least busy worker, the last of those that are equal: parts of one image go to different ones. A further task is
 * given to one only where all threads are there already; until then null, which makes the pool start another.
 */
function pipelining(threads: () => number): LoadBalancer {
  return (_task, workers) => {
    const [first, ...others] = workers;
    if (first === undefined) return null;
    const least = others.reduce(
      (best, worker) => (worker.currentUsage <= best.currentUsage ? worker : best),
      first,
    );
    if (least.currentUsage === 0) return least;
    return workers.length >= threads() && least.currentUsage < ALL_SLOTS_PER_WORKER ? least : null;
  };
}
