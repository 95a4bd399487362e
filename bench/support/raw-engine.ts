/** Runs the engine without a server: the same bundle on the same cores, one thread per core, in its own process. */
import { type ChildProcess, spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { onCores } from './cores.js';
import { endProcess } from './end-process.js';
import { benchEngine } from './server-process.js';

export type RawRequest =
  /** Runs batches for the given time. */
  | { readonly kind: 'throughput'; readonly batchSize: number; readonly durationMs: number }
  /** Runs the tiles of one image, divided among the threads. */
  | { readonly kind: 'image'; readonly tiles: number; readonly batchSize: number };

export interface RawAnswer {
  readonly tiles: number;
  readonly ms: number;
  /** User and system time of the whole process. */
  readonly cpuMs: number;
}

export class RawEngine {
  private constructor(private readonly child: ChildProcess) {}

  static async start(bundleDirectory: string, cores: string, threads: number): Promise<RawEngine> {
    const entry = fileURLToPath(new URL('./raw-engine-process.js', import.meta.url));
    const [program, args] = onCores(cores, process.execPath, [
      entry,
      bundleDirectory,
      String(threads),
      benchEngine(),
    ]);
    const child = spawn(program, [...args], { stdio: ['ignore', 'inherit', 'ignore', 'ipc'] });
    const engine = new RawEngine(child);
    try {
      await engine.answer();
    } catch (error) {
      await endProcess(child);
      throw error;
    }
    return engine;
  }

  async run(request: RawRequest): Promise<RawAnswer> {
    const answer = this.answer();
    this.child.send(request);
    return (await answer) as RawAnswer;
  }

  /** The batch size with the highest rate of the raw engine, which may differ from that of the server. */
  async bestBatchSize(durationMs: number): Promise<number> {
    let best = { batchSize: 1, rate: 0 };
    for (const batchSize of [1, 2, 4, 8, 16, 32]) {
      const { tiles, ms } = await this.run({ kind: 'throughput', batchSize, durationMs });
      if (tiles / ms > best.rate) best = { batchSize, rate: tiles / ms };
    }
    return best.batchSize;
  }

  stop(): Promise<void> {
    return endProcess(this.child);
  }

  private answer(): Promise<unknown> {
    return new Promise((resolve, reject) => {
      const onExit = () => reject(new Error('the process of the raw engine ended'));
      this.child.once('exit', onExit);
      this.child.once('message', (message) => {
        this.child.off('exit', onExit);
        resolve(message);
      });
    });
  }
}
