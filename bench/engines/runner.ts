/** Runs an engine on worker threads in a separate process, like the pool of a server, without the rest of a server. */
import { type ChildProcess, spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import type { EngineName, Precision } from '../../src/engines/engine.js';
import { onCores } from '../support/cores.js';
import { endOnAbort, endProcess } from '../support/end-process.js';
import type { BankChoice, BundleFolder, SourceName } from '../support/model-sources.js';

export interface RunRequest {
  readonly model: SourceName | BundleFolder;
  readonly bank: BankChoice;
  /** @default float32 */
  readonly precision?: Precision;
  readonly batchSize: number;
  readonly durationMs: number;
}

export interface RunAnswer {
  readonly tiles: number;
  readonly ms: number;
}

export interface RunnerOptions {
  readonly engine: EngineName;
  readonly threads: number;
  /** Taskset list; empty: no pinning. */
  readonly cores: string;
  readonly environment?: Readonly<Record<string, string>>;
  /** Ends the process; a request without an answer is then rejected. */
  readonly signal?: AbortSignal;
}

export class Runner {
  private constructor(
    private readonly child: ChildProcess,
    readonly device: string,
  ) {}

  /** Rejects with the reason of the engine if it cannot start. */
  static async start({ engine, threads, cores, environment = {}, signal }: RunnerOptions): Promise<Runner> {
    const entry = fileURLToPath(new URL('./runner-process.js', import.meta.url));
    const [program, args] = onCores(cores, process.execPath, [entry, engine, String(threads)]);
    const child = spawn(program, [...args], {
      stdio: ['ignore', 'ignore', 'ignore', 'ipc'],
      env: { ...process.env, ...environment },
    });
    endOnAbort(child, signal);
    try {
      const { device } = (await answerOf(child)) as { readonly device: string };
      return new Runner(child, device);
    } catch (error) {
      // A process whose engine did not start waits for requests.
      await endProcess(child);
      throw error;
    }
  }

  /** Loads the model if it is not loaded; loading and the first batch are not measured. */
  async run(request: RunRequest): Promise<RunAnswer> {
    const answer = answerOf(this.child);
    this.child.send(request);
    return (await answer) as RunAnswer;
  }

  stop(): Promise<void> {
    return endProcess(this.child);
  }
}

function answerOf(child: ChildProcess): Promise<unknown> {
  return new Promise((resolve, reject) => {
    const onExit = (code: number | null) => reject(new Error(`the engine's process ended with ${code}`));
    child.once('exit', onExit);
    child.once('message', (message: { readonly failure?: string }) => {
      child.off('exit', onExit);
      if (message.failure === undefined) resolve(message);
      else reject(new Error(message.failure));
    });
  });
}
