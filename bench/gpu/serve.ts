/** Part `serve`: images per second through one server of 1, 4 and 12 processes, which share the GPU. */
import { cpSync, mkdtempSync, rmSync } from 'node:fs';
import { availableParallelism, tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { serverProcesses } from '../support/child-processes.js';
import { NO_QUEUE_LIMIT, type ServerProcess, startProcess } from '../support/server-process.js';
import { runForJson, SALAD } from './child.js';
import type { Figures } from './report.js';
import type { Part, RunContext } from './run.js';

const PROCESS_COUNTS = [1, 4, 12];
const STREAM_COUNTS = [64, 256];
/** Processes of the load generator: with fewer, the generator would limit the server. */
const LOAD_PROCESSES_MIN = Math.max(1, Math.min(4, availableParallelism() >> 1));
/** The bundles measured, in this order: the one with the larger network first. */
const PREFERRED = ['chest-pediatric/2', 'phantom/1'];
/** All load comes from one address, which as shipped may begin 1,000 calls a second in each process. */
const NO_PEER_LIMIT = { SALAD_PEER_SHARE_RATIO: '0', SALAD_PEER_CALLS_PER_SECOND: '0' };

interface LoadAnswer {
  readonly acquisitions: {
    readonly ok: number;
    readonly failed: number;
    readonly refused: number;
    readonly perSecond: number;
    readonly p50Ms: number;
    readonly p99Ms: number;
  };
  readonly tiles: { readonly perSecond: number };
  readonly batchFill: number;
}

export const serve: Part = {
  name: 'serve',
  seconds: 190,
  async run(context, record, signal) {
    const engine = String(context.resultsOf('doctor')['engine'] ?? 'onnx');
    record({ engine, cores: availableParallelism() });
    const preferred = PREFERRED.filter((bundle) => context.bundles.includes(bundle));
    const bundles = preferred.length > 0 && !context.quick ? preferred : context.bundles.slice(0, 1);
    for (const bundle of bundles) {
      const figures: Figures = {};
      for (const processes of context.quick ? [1, 2] : PROCESS_COUNTS) {
        await measureProcesses(context, { engine, bundle, processes, signal }, (streams, measured) => {
          figures[`processes ${processes}, streams ${streams}`] = measured;
          record({ [bundle]: figures });
        });
      }
    }
  },
};

/** A folder with only this bundle: the others would be loaded and checked by every process. @returns its path */
export function oneBundle(context: RunContext, bundle: string, folder: string): string {
  const models = join(folder, 'models');
  cpSync(join(context.models, bundle), join(models, bundle), { recursive: true });
  return models;
}

interface Setting {
  readonly engine: string;
  readonly bundle: string;
  readonly processes: number;
  readonly signal: AbortSignal;
}

async function measureProcesses(
  context: RunContext,
  { engine, bundle, processes, signal }: Setting,
  record: (streams: number, figures: Figures) => void,
): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'salad-gpu-'));
  let server: ServerProcess | undefined;
  try {
    const args = [
      ...[SALAD, 'serve', '--listen', '127.0.0.1:0', '--models', oneBundle(context, bundle, folder)],
      ...['--engine', engine, '--processes', String(processes), '--json'],
    ];
    const startMs = performance.now();
    server = await startProcess(
      process.execPath,
      args,
      '',
      { ...NO_QUEUE_LIMIT, ...NO_PEER_LIMIT },
      { signal, onLogLine: (line) => context.log(`${line}\n`) },
    );
    const startSeconds = (performance.now() - startMs) / 1000;
    // A server of one process has no others.
    const counted = Math.max(1, serverProcesses(server.pid).length);
    for (const streams of context.quick ? [4] : STREAM_COUNTS) {
      const load = { server, model: dirname(bundle), streams, processes: counted };
      const figures = await measureStreams(context, load, signal);
      record(streams, { ...figures, processes: counted, startSeconds, batchLimits: server.batchLimits });
    }
  } finally {
    await server?.stop();
    rmSync(folder, { recursive: true, force: true });
  }
}

interface Load {
  readonly server: ServerProcess;
  readonly model: string;
  readonly streams: number;
  /** Of the server. */
  readonly processes: number;
}

/** One load generator, with at least one connection for every process of the server. */
async function measureStreams(
  context: RunContext,
  { server, model, streams, processes }: Load,
  signal: AbortSignal,
): Promise<Figures> {
  const loadProcesses = Math.max(processes, LOAD_PROCESSES_MIN);
  const [duration, warmUp] = context.quick ? ['3', '1'] : ['6', '2'];
  const args = [
    ...[SALAD, 'load', '--target', server.address, '--model', model, '--streams', String(streams)],
    ...['--processes', String(loadProcesses), '--duration', duration, '--warm-up', warmUp, '--json'],
  ];
  const answer = (await runForJson(context, args, signal)) as unknown as LoadAnswer;
  const { ok, failed, refused, perSecond, p50Ms, p99Ms } = answer.acquisitions;
  const { tiles, batchFill } = answer;
  return {
    imagesPerSecond: perSecond,
    tilesPerSecond: tiles.perSecond,
    ...{ ok, failed, refused, p50Ms, p99Ms, batchFill, loadProcesses },
  };
}
