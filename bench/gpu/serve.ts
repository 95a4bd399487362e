/** Part `serve`: images per second through 1, 4 and 12 servers, each on a port of its own, on the same GPU. */
import { cpSync, mkdtempSync, rmSync } from 'node:fs';
import { availableParallelism, tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { NO_QUEUE_LIMIT, type ServerProcess, startProcess } from '../support/server-process.js';
import { runForJson, SALAD } from './child.js';
import type { Figures } from './report.js';
import type { Part, RunContext } from './run.js';

const PORT_COUNTS = [1, 4, 12];
const STREAM_COUNTS = [64, 256];
/** Load generators: with fewer, the generator would limit one server. */
const LOAD_PROCESSES_MIN = Math.max(1, Math.min(4, availableParallelism() >> 1));
/** The bundles measured, in this order: the one with the larger network first. */
const PREFERRED = ['chest-pediatric/2', 'phantom/1'];

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
      for (const ports of context.quick ? [1, 2] : PORT_COUNTS) {
        await measurePorts(context, { engine, bundle, ports, signal }, (streams, measured) => {
          figures[`${ports} ports, ${streams} streams`] = measured;
          record({ [bundle]: figures });
        });
      }
    }
  },
};

/** A folder with only this bundle: the others would be loaded and checked by every server. @returns its path */
export function oneBundle(context: RunContext, bundle: string, folder: string): string {
  const models = join(folder, 'models');
  cpSync(join(context.models, bundle), join(models, bundle), { recursive: true });
  return models;
}

interface Setting {
  readonly engine: string;
  readonly bundle: string;
  readonly ports: number;
  readonly signal: AbortSignal;
}

async function measurePorts(
  context: RunContext,
  { engine, bundle, ports, signal }: Setting,
  record: (streams: number, figures: Figures) => void,
): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'salad-gpu-'));
  const models = oneBundle(context, bundle, folder);
  const servers: ServerProcess[] = [];
  try {
    const args = [
      SALAD,
      'serve',
      '--listen',
      '127.0.0.1:0',
      '--models',
      models,
      '--engine',
      engine,
      '--json',
    ];
    const environment = { ...NO_QUEUE_LIMIT, SALAD_PEER_SHARE_RATIO: '0' };
    const startMs = performance.now();
    const starts = Array.from({ length: ports }, async () => {
      servers.push(
        await startProcess(process.execPath, args, '', environment, {
          signal,
          onLogLine: (line) => context.log(`${line}\n`),
        }),
      );
    });
    await Promise.all(starts);
    const startSeconds = (performance.now() - startMs) / 1000;
    for (const streams of context.quick ? [4] : STREAM_COUNTS) {
      const figures = await measureStreams(context, servers, dirname(bundle), streams, signal);
      record(streams, { ...figures, startSeconds, batchLimits: servers[0]?.batchLimits });
    }
  } finally {
    await Promise.all(servers.map((server) => server.stop()));
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Divides the streams among load generators, and these among the servers. */
async function measureStreams(
  context: RunContext,
  servers: readonly ServerProcess[],
  model: string,
  streams: number,
  signal: AbortSignal,
): Promise<Figures> {
  const processes = Math.max(servers.length, Math.min(LOAD_PROCESSES_MIN, streams));
  const [duration, warmUp] = context.quick ? ['3', '1'] : ['6', '2'];
  const loads = Array.from({ length: processes }, async (_, index) => {
    const target = servers[index % servers.length]!.address;
    const share = Math.floor((streams + index) / processes);
    const flags = ['--model', model, '--streams', String(share), '--duration', duration, '--warm-up', warmUp];
    return (await runForJson(
      context,
      [SALAD, 'load', '--target', target, ...flags, '--json'],
      signal,
    )) as unknown as LoadAnswer;
  });
  const answers = await Promise.all(loads);
  const sum = (read: (answer: LoadAnswer) => number) =>
    answers.reduce((total, answer) => total + read(answer), 0);
  return {
    imagesPerSecond: sum(({ acquisitions }) => acquisitions.perSecond),
    tilesPerSecond: sum(({ tiles }) => tiles.perSecond),
    ok: sum(({ acquisitions }) => acquisitions.ok),
    failed: sum(({ acquisitions }) => acquisitions.failed),
    refused: sum(({ acquisitions }) => acquisitions.refused),
    meanP50Ms: sum(({ acquisitions }) => acquisitions.p50Ms) / processes,
    highestP99Ms: Math.max(...answers.map(({ acquisitions }) => acquisitions.p99Ms)),
    meanBatchFill: sum(({ batchFill }) => batchFill) / processes,
    loadProcesses: processes,
  };
}
