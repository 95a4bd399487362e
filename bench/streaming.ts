/**
 * Served against raw: tiles per second through the gRPC port with 1, 8 and 64 streams, over those of the bare
 * engine on the same cores. The load client runs on the same machine, so its CPU time is measured and
 * subtracted from what the server could have had (`clientCores`); the plain ratio stands beside it.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { Worker } from 'node:worker_threads';
import { type LoadResult, runLoad, type Workload } from '../clients/load/src/index.js';
import { SaladClient } from '../clients/typescript/src/index.js';
import { packageRoot, shippedModels } from '../src/cli/paths.js';
import { makePhantom } from '../src/imaging/phantom.js';
import type { BenchOptions } from './main.js';
import type { RawEngineRequest } from './raw-engine-worker.js';

const STREAMS = [1, 8, 64] as const;
const MODELS = ['phantom', 'chest-pediatric'] as const;

export async function benchStreaming(options: BenchOptions): Promise<Record<string, unknown>> {
  const results: Record<string, Record<string, unknown>> = {};
  for (const model of MODELS) results[model] = await benchModel(model, options);
  // The streamable bundle is the headline: its fields stand at the top, as docs of the command say.
  return { ...results['phantom'], models: results };
}

interface Measured {
  readonly tilesPerSecond: number;
  readonly acquisitionsPerSecond: number;
  readonly clientCores: number;
  readonly serverCores: number;
  readonly load: LoadResult;
}

async function benchModel(model: string, { quick }: BenchOptions): Promise<Record<string, unknown>> {
  const repeats = quick ? 1 : 5;
  const durationMs = quick ? 2000 : 5000;
  const cores = availableParallelism();
  const server = await startServer(model);
  const raw = await RawEngine.start(join(shippedModels(), model, '1'), cores);
  try {
    const batchSize = await raw.bestBatchSize(quick ? 300 : 1000);
    const rawRuns: number[] = [];
    const served = new Map<number, Measured[]>(STREAMS.map((streams) => [streams, []]));
    // Interleaved: a slow minute of the machine hits both terms of every ratio.
    for (let repeat = 0; repeat < repeats; repeat++) {
      rawRuns.push(await raw.run({ batchSize, durationMs }));
      for (const streams of STREAMS)
        served.get(streams)?.push(await measureServed(server, model, streams, durationMs));
    }
    const rawTilesPerSecond = median(rawRuns);
    const tilesPerImage = raw.tilesPerImage;
    return {
      model,
      engine: 'onnx',
      cores,
      repeats,
      rawBatchSize: batchSize,
      rawTilesPerSecond,
      rawImagesPerSecond: rawTilesPerSecond / tilesPerImage,
      served: Object.fromEntries(
        [...served].map(([streams, runs]) => [streams, summarise(runs, rawTilesPerSecond, cores)]),
      ),
    };
  } finally {
    await raw.stop();
    server.process.kill('SIGTERM');
  }
}

function summarise(
  runs: readonly Measured[],
  rawTilesPerSecond: number,
  cores: number,
): Record<string, unknown> {
  const of = (pick: (run: Measured) => number) => median(runs.map(pick));
  const tilesPerSecond = of((run) => run.tilesPerSecond);
  const clientCores = of((run) => run.clientCores);
  // What the raw engine would do on the cores that the client left.
  const rawOnServerCores = (rawTilesPerSecond * (cores - clientCores)) / cores;
  return {
    tilesPerSecond,
    imagesPerSecond: of((run) => run.acquisitionsPerSecond),
    ratio: tilesPerSecond / rawOnServerCores,
    rawOnServerCores,
    unadjustedRatio: tilesPerSecond / rawTilesPerSecond,
    clientCores,
    serverCores: of((run) => run.serverCores),
    batchFill: of((run) => run.load.batchFill),
    jain: of((run) => run.load.jain ?? Number.NaN),
    acquisitionP50Ms: of((run) => run.load.acquisitions.p50Ms),
    acquisitionP99Ms: of((run) => run.load.acquisitions.p99Ms),
    failed: Math.max(...runs.map((run) => run.load.acquisitions.failed + run.load.acquisitions.refused)),
  };
}

async function measureServed(
  server: ServerProcess,
  model: string,
  streams: number,
  durationMs: number,
): Promise<Measured> {
  const client = new SaladClient(server.address);
  try {
    const load = { clients: [client], model: { name: model }, workload: workload(), timeoutMs: 60_000 };
    const arrivals = { kind: 'streams', count: streams, intervalMs: 0 } as const;
    const warmUpMs = 1000;
    const before = {
      client: process.cpuUsage(),
      server: await cpuSeconds(server.process.pid ?? 0),
      at: performance.now(),
    };
    const result = await runLoad({ ...load, arrivals, durationMs, warmUpMs });
    const seconds = (performance.now() - before.at) / 1000;
    const used = process.cpuUsage(before.client);
    return {
      tilesPerSecond: result.tiles.perSecond,
      acquisitionsPerSecond: result.acquisitions.perSecond,
      clientCores: (used.user + used.system) / 1e6 / seconds,
      serverCores: ((await cpuSeconds(server.process.pid ?? 0)) - before.server) / seconds,
      load: result,
    };
  } finally {
    client.close();
  }
}

/** User and system time of a process, from /proc (Linux; NaN elsewhere). */
async function cpuSeconds(pid: number): Promise<number> {
  try {
    const fields = (await readFile(`/proc/${pid}/stat`, 'utf8')).split(') ')[1]?.split(' ') ?? [];
    return (Number(fields[11]) + Number(fields[12])) / 100;
  } catch {
    return Number.NaN;
  }
}

function workload(): Workload {
  const phantom = makePhantom({ seed: 1, size: 512 });
  return {
    mode: 'tiles',
    size: 512,
    pixels: Uint8Array.from(phantom.samples, (sample) => sample >> 4),
    tilesPerMessage: 16,
    rowsPerMessage: 16,
    acquisitionMs: 0,
  };
}

interface ServerProcess {
  readonly process: ChildProcess;
  readonly address: string;
}

/** The server as users run it: a process of its own. */
async function startServer(model: string): Promise<ServerProcess> {
  const main = join(packageRoot(), 'dist/src/main.js');
  const args = [
    main,
    'serve',
    '--listen',
    '127.0.0.1:0',
    '--models',
    shippedModels(),
    '--engine',
    'onnx',
    '--json',
  ];
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'ignore'] });
  const lines = createInterface({ input: child.stdout });
  for await (const line of lines) {
    const ready = JSON.parse(line) as { event: string; address: string };
    if (ready.event === 'ready') return { process: child, address: ready.address };
  }
  throw new Error(`the server for ${model} did not start`);
}

/** One thread per core, each with its own engine. */
class RawEngine {
  readonly tilesPerImage: number;
  readonly #workers: readonly Worker[];

  private constructor(workers: readonly Worker[], tilesPerImage: number) {
    this.#workers = workers;
    this.tilesPerImage = tilesPerImage;
  }

  static async start(bundleDirectory: string, threads: number): Promise<RawEngine> {
    const { input, tiling } = JSON.parse(await readFile(join(bundleDirectory, 'manifest.json'), 'utf8')) as {
      input: { workingSize: number };
      tiling: { coreSize: number };
    };
    const url = new URL('./raw-engine-worker.js', import.meta.url);
    const workers = Array.from(
      { length: threads },
      () => new Worker(url, { workerData: { bundleDirectory } }),
    );
    await Promise.all(workers.map((worker) => message(worker)));
    return new RawEngine(workers, (input.workingSize / tiling.coreSize) ** 2);
  }

  /** Tiles per second of all threads together. */
  async run(request: RawEngineRequest): Promise<number> {
    const rates = this.#workers.map((worker) => {
      worker.postMessage(request);
      return message(worker) as Promise<number>;
    });
    return (await Promise.all(rates)).reduce((sum, rate) => sum + rate, 0);
  }

  /** The raw engine gets its best batch size, whatever the server found. */
  async bestBatchSize(durationMs: number): Promise<number> {
    let best = { batchSize: 1, rate: 0 };
    for (const batchSize of [1, 4, 8, 16, 32]) {
      const rate = await this.run({ batchSize, durationMs });
      if (rate > best.rate) best = { batchSize, rate };
    }
    return best.batchSize;
  }

  async stop(): Promise<void> {
    await Promise.all(this.#workers.map((worker) => worker.terminate()));
  }
}

function message(worker: Worker): Promise<unknown> {
  return new Promise((resolve, reject) => {
    worker.once('message', resolve);
    worker.once('error', reject);
  });
}

function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1
    ? (sorted[middle] ?? Number.NaN)
    : ((sorted[middle - 1] ?? 0) + (sorted[middle] ?? 0)) / 2;
}
