/** Worker threads, each under a piscina of its own: which entry they run, who gets the next task, what an answer means. */
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
  /** Receives errors that no task waits for. */
  readonly onError: (error: Error) => void;
}

interface Thread {
  readonly piscina: Piscina<WorkerTask, WorkerResult>;
  /** Tasks it has not answered. */
  tasks: number;
}

export class Threads {
  private readonly threads: Thread[] = [];

  constructor(
    private readonly setup: WorkerSetup,
    private readonly options: ThreadOptions,
  ) {}

  /** @throws SaladError ENGINE_UNAVAILABLE where the system gives no more threads. */
  growTo(count: number): void {
    while (this.threads.length < count) {
      try {
        this.threads.push({ piscina: this.start(), tasks: 0 });
      } catch (error) {
        const why = error instanceof Error ? error.message : String(error);
        throw new SaladError(
          'ENGINE_UNAVAILABLE',
          `worker thread ${this.threads.length + 1} of ${count} does not start: ${why}`,
          { cause: error },
        );
      }
    }
  }

  /**
   * In the least busy thread, the last of those that are equal: parts of one image go to different ones.
   * @throws SaladError what the worker reported, or EngineLoss where it died.
   */
  run(task: WorkerTask): Promise<WorkerResult> {
    const [first, ...others] = this.threads;
    if (first === undefined) throw new SaladError('INTERNAL', 'there is no worker thread');
    return runIn(
      others.reduce((best, thread) => (thread.tasks <= best.tasks ? thread : best), first),
      task,
    );
  }

  /** The engine and its models in every thread. Settles when all have answered. */
  async load({ engine, models }: SelectResult): Promise<void> {
    const task = { type: 'load', engine, models: Object.keys(models) } as const;
    const results = await Promise.allSettled(this.threads.map((thread) => runIn(thread, task)));
    for (const result of results) if (result.status === 'rejected') throw result.reason;
  }

  /** Ends the threads, whatever they do. */
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
  thread.tasks += 1;
  try {
    result = await thread.piscina.run(task);
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    throw new EngineLoss('died', `an engine worker died: ${why}`, { cause: error });
  } finally {
    thread.tasks -= 1;
  }
  if (result.type === 'failed') throw errorFrom(result);
  return result;
}

export function unexpected(result: WorkerResult): SaladError {
  return new SaladError('INTERNAL', `an engine worker answered ${result.type} out of turn`);
}

/** Built, the worker is JavaScript beside us; in a checkout run through tsx a small entry registers tsx first. */
export function workerEntry(): string {
  const name = import.meta.url.endsWith('.ts') ? 'engine-worker.checkout.mjs' : 'engine-worker.js';
  return fileURLToPath(new URL(`../../workers/${name}`, import.meta.url));
}
