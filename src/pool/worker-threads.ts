/** Main thread. Starts worker threads, each in a piscina of its own, and sends each task to the least busy one. */
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

/** The main thread fills the second slot while the worker computes the first, so that a worker never waits. */
export const SLOTS_PER_WORKER = 2;

/** Reserved, so that urgent tiles wait neither for a free slot nor for the batch in it. */
const URGENT_SLOTS_PER_WORKER = 1;
export const ALL_SLOTS_PER_WORKER = SLOTS_PER_WORKER + URGENT_SLOTS_PER_WORKER;

export interface WorkerThreadsOptions {
  /** File of the worker; its default export takes a WorkerTask and resolves to a WorkerResult. */
  readonly entry: string;
  /** Receives errors that belong to no task. */
  readonly onError: (error: Error) => void;
}

/** A thread, for `runIn`. */
export interface Thread {
  readonly piscina: Piscina<WorkerTask, WorkerResult>;
  unansweredTasks: number;
  /** Whether it adds or removes a model: batches go to other threads, where there are any. */
  isChangingModels: boolean;
}

export class WorkerThreads {
  private readonly threads: Thread[] = [];

  constructor(
    readonly setup: WorkerSetup,
    private readonly options: WorkerThreadsOptions,
  ) {}

  /** @throws SaladError ENGINE_UNAVAILABLE where the system starts no more threads. */
  growTo(count: number): void {
    while (this.threads.length < count) {
      try {
        this.threads.push({ piscina: this.start(), unansweredTasks: 0, isChangingModels: false });
      } catch (error) {
        const reason = error instanceof Error ? error.message : String(error);
        throw new SaladError(
          'ENGINE_UNAVAILABLE',
          `worker thread ${this.threads.length + 1} of ${count} does not start: ${reason}`,
          { cause: error },
        );
      }
    }
  }

  /** The least busy thread, of equally busy ones the last: the batches of one image are spread over the threads. */
  leastBusy(): Thread {
    const ready = this.threads.filter(({ isChangingModels }) => !isChangingModels);
    const [first, ...others] = ready.length > 0 ? ready : this.threads;
    if (first === undefined) throw new SaladError('INTERNAL', 'there is no worker thread');
    return others.reduce(
      (best, thread) => (thread.unansweredTasks <= best.unansweredTasks ? thread : best),
      first,
    );
  }

  /**
   * Runs the task in one thread.
   * @throws SaladError what the worker reported, or EngineLoss where it died.
   */
  run(task: WorkerTask, thread = this.leastBusy()): Promise<WorkerResult> {
    return runIn(thread, task);
  }

  /** Changes the models in one thread after another, so that the others serve meanwhile. Rejects as `change` does. */
  async changeModels(change: (thread: Thread) => Promise<unknown>): Promise<void> {
    for (const thread of this.threads) {
      thread.isChangingModels = true;
      try {
        await change(thread);
      } finally {
        thread.isChangingModels = false;
      }
    }
  }

  /** Loads the engine and its models in every thread. Settles when all have answered. */
  async load({ engine, models }: SelectResult): Promise<void> {
    const task = { type: 'load', engine, models: Object.keys(models) } as const;
    const results = await Promise.allSettled(this.threads.map((thread) => runIn(thread, task)));
    for (const result of results) if (result.status === 'rejected') throw result.reason;
  }

  /** Ends the threads, also in the middle of a task. */
  async destroy(): Promise<void> {
    await Promise.all(this.threads.map(({ piscina }) => piscina.destroy()));
  }

  private start(): Thread['piscina'] {
    const piscina = new Piscina<WorkerTask, WorkerResult>({
      filename: this.options.entry,
      minThreads: 1,
      maxThreads: 1,
      idleTimeout: Number.POSITIVE_INFINITY,
      concurrentTasksPerWorker: ALL_SLOTS_PER_WORKER,
      recordTiming: false,
      workerData: this.setup,
    });
    piscina.on('error', this.options.onError);
    return piscina;
  }
}

async function runIn(thread: Thread, task: WorkerTask): Promise<WorkerResult> {
  let result: WorkerResult;
  thread.unansweredTasks += 1;
  try {
    result = await thread.piscina.run(task);
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new EngineLoss('died', `an engine worker died: ${reason}`, { cause: error });
  } finally {
    thread.unansweredTasks -= 1;
  }
  if (result.type === 'failed') throw errorFrom(result);
  return result;
}

export function unexpected(result: WorkerResult): SaladError {
  return new SaladError('INTERNAL', `an engine worker gave the wrong type of answer: ${result.type}`);
}

/** The built package has a JavaScript file; in a checkout a small entry registers tsx before it imports the source. */
export function workerEntry(): string {
  const name = import.meta.url.endsWith('.ts') ? 'engine-worker.checkout.mjs' : 'engine-worker.js';
  return fileURLToPath(new URL(`../../workers/${name}`, import.meta.url));
}
