/** Runs a load in several processes of this machine: one process of Node uses little more than one core. */
import { type ChildProcess, fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { SaladClient, type SaladClientOptions } from '../../typescript/src/index.js';
import type { RequestRecord } from './acquire.js';
import { mergeResults } from './merge.js';
import type { LoadResult } from './result.js';
import { type Arrivals, type LoadOptions, runLoad } from './run.js';

/** A load for processes of their own: everything in it can be sent to them. */
export interface LoadJob
  extends Omit<LoadOptions, 'clients' | 'signal' | 'onProgress' | 'onRequest' | 'onRetry'> {
  readonly target: string;
  readonly clientOptions: SaladClientOptions;
  /** Connections of each process. */
  readonly connections: number;
  /** Whether the process reports every acquisition. */
  readonly reportsRequests: boolean;
}

export interface JobListeners {
  readonly signal?: AbortSignal;
  readonly onProgress?: (done: number, failed: number) => void;
  readonly onRequest?: (record: RequestRecord) => void;
  /** Of several machines, each runs its part of the job. @default the whole job */
  readonly share?: { readonly index: number; readonly count: number };
}

/** To a process. */
export type Command = { readonly type: 'run'; readonly job: LoadJob } | { readonly type: 'stop' };
/** From a process. */
export type Message =
  | { readonly type: 'ready' }
  | { readonly type: 'progress'; readonly done: number; readonly failed: number }
  | { readonly type: 'request'; readonly record: RequestRecord }
  | { readonly type: 'result'; readonly result: LoadResult }
  | { readonly type: 'error'; readonly message: string };

/** Runs the job in this process. */
export async function runJob(job: LoadJob, listeners: JobListeners): Promise<LoadResult> {
  const clients = Array.from(
    { length: job.connections },
    () => new SaladClient(job.target, job.clientOptions),
  );
  try {
    return await runLoad({ ...job, ...listeners, clients });
  } finally {
    for (const client of clients) client.close();
  }
}

/**
 * Runs the job in `count` processes, each with its part of the streams or of the rate, and merges their results. They
 * start together, after all of them have loaded.
 * @param count at least 1; with 1 the job runs in this process
 * @throws Error of the first process that fails, and where no stream is left for this machine
 */
export async function runProcesses(
  job: LoadJob,
  count: number,
  listeners: JobListeners,
): Promise<LoadResult> {
  const { index, count: machines } = listeners.share ?? { index: 0, count: 1 };
  const all = splitArrivals(job.arrivals, count * machines);
  const parts = all.filter((_, part) => part % machines === index);
  const [only] = parts;
  if (only === undefined) throw new Error(`there are fewer streams than generators (${machines})`);
  if (parts.length === 1) return runJob({ ...job, arrivals: only }, listeners);
  const processes = parts.map((arrivals) => new LoadProcess({ ...job, arrivals }));
  const stop = () => {
    for (const each of processes) each.send({ type: 'stop' });
  };
  try {
    await Promise.all(processes.map((each) => each.ready));
    listeners.signal?.addEventListener('abort', stop, { once: true });
    if (listeners.signal?.aborted) stop();
    const done = parts.map(() => [0, 0]);
    const results = processes.map((each, part) =>
      each.run({
        ...listeners,
        onProgress: (...figures) => {
          done[part] = figures;
          const sum = (at: 0 | 1) => done.reduce((total, both) => total + (both[at] ?? 0), 0);
          listeners.onProgress?.(sum(0), sum(1));
        },
      }),
    );
    return mergeResults(await Promise.all(results));
  } finally {
    listeners.signal?.removeEventListener('abort', stop);
    for (const each of processes) each.end();
  }
}

/** The arrivals of each process; fewer processes than asked for where there are fewer streams. */
export function splitArrivals(arrivals: Arrivals, count: number): readonly Arrivals[] {
  if (arrivals.kind === 'poisson') {
    // The sum of independent Poisson processes is a Poisson process of the sum of their rates.
    const ratePerSecond = arrivals.ratePerSecond / count;
    return Array.from({ length: count }, (_, index) => ({
      kind: 'poisson',
      ratePerSecond,
      seed: arrivals.seed + index,
    }));
  }
  const processes = Math.min(count, arrivals.count);
  return Array.from({ length: processes }, (_, index) => ({
    ...arrivals,
    count: Math.floor((arrivals.count + index) / processes),
  }));
}

class LoadProcess {
  readonly #child: ChildProcess;
  /** Resolves when the process has loaded. */
  readonly ready: Promise<void>;

  constructor(private readonly job: LoadJob) {
    const program = fileURLToPath(new URL('./process.js', import.meta.url));
    // Pixels are sent as bytes, not as JSON.
    this.#child = fork(program, { serialization: 'advanced' });
    this.ready = new Promise((resolve, reject) => {
      this.#child.once('message', () => resolve());
      this.#onEnd(reject);
    });
    this.ready.catch(() => {});
  }

  run({ onProgress, onRequest }: JobListeners): Promise<LoadResult> {
    return new Promise((resolve, reject) => {
      this.#onEnd(reject);
      this.#child.on('message', (message: Message) => {
        if (message.type === 'progress') onProgress?.(message.done, message.failed);
        if (message.type === 'request') onRequest?.(message.record);
        if (message.type === 'result') resolve(message.result);
        if (message.type === 'error') reject(new Error(message.message));
      });
      this.send({ type: 'run', job: this.job });
    });
  }

  send(command: Command): void {
    if (this.#child.connected) this.#child.send(command);
  }

  /** The process ends when its channel is closed. */
  end(): void {
    if (this.#child.connected) this.#child.disconnect();
  }

  #onEnd(reject: (error: Error) => void): void {
    this.#child.once('error', reject);
    this.#child.once('exit', (code, signal) => {
      reject(new Error(`a process of the load generator ended early (${signal ?? `exit code ${code}`})`));
    });
  }
}
