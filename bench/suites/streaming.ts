/**
 * Suite `streaming`: compares the server with its engine alone: idle, under load and over capacity. Server and engine
 * run alternately on the same cores, and the client has cores of its own, so that a ratio compares equal conditions.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { availableParallelism, tmpdir } from 'node:os';
import { basename, dirname, join, resolve } from 'node:path';
import { runLoad, type Workload } from '../../clients/load/src/index.js';
import { SaladClient } from '../../clients/typescript/src/index.js';
import { readBundle } from '../../src/bundle/bundle.js';
import { note } from '../../src/cli/shared/output.js';
import { shippedModels } from '../../src/util/package-root.js';
import type { Bench } from '../streaming/bench.js';
import { measureFirstScore, measureIdle, measureStat } from '../streaming/latency.js';
import { measureThroughput } from '../streaming/throughput.js';
import { type CorePlan, planCores, withCores } from '../support/cores.js';
import type { BenchOptions } from '../support/options.js';
import { RawEngine } from '../support/raw-engine.js';
import { benchEngine, NO_QUEUE_LIMIT, type ServerProcess, startSalad } from '../support/server-process.js';
import { UNTRAINED_NAMES, writeUntrainedBundle } from '../support/untrained-bundle.js';
import { tileWorkload } from '../support/workload.js';
import { overloadAtBothSpeeds } from './overload.js';

export async function benchStreaming({ quick }: BenchOptions): Promise<Record<string, unknown>> {
  const plan = planCores();
  return withCores(plan.client, async () => {
    // The fields of the streamable bundle are also at the top level of the results, where other programs read them.
    const figures = await withModel(shippedFolder('phantom'), quick, plan, async (bench) => ({
      ...(await measureThroughput(bench, [1, 8, 32, 64])),
      idle: await measureIdle(bench),
      firstScore: await measureFirstScore(bench),
      stat: await measureStat(bench),
    }));
    const overload = await overloadAtBothSpeeds(quick, plan);
    const models: Record<string, unknown> = { phantom: { ...figures, ...overload } };
    const scratch = mkdtempSync(join(tmpdir(), 'salad-streaming-'));
    try {
      const directories = [shippedFolder('chest-pediatric')];
      // Learned encoders take two to six times as long per image as log-Gabor: the overhead of the server for them.
      for (const name of UNTRAINED_NAMES) directories.push(await writeUntrainedBundle(scratch, name));
      for (const directory of [...directories, ...bundleFromEnvironment()]) {
        const measured = await withModel(directory, quick, plan, (bench) =>
          measureThroughput(bench, [1, 8, 64]),
        );
        models[measured.model] = measured;
      }
    } finally {
      rmSync(scratch, { recursive: true });
    }
    return { ...figures, ...overload, models };
  });
}

const shippedFolder = (model: string): string => join(shippedModels(), model, '1');

/** The bundle of `SALAD_BENCH_BUNDLE=FOLDER/NAME/VERSION`, if the variable is set. */
function bundleFromEnvironment(): readonly string[] {
  const directory = process.env['SALAD_BENCH_BUNDLE'];
  return directory === undefined ? [] : [resolve(directory)];
}

/**
 * Starts a server and the raw engine for one bundle, runs `work`, and adds the description of both to its figures.
 * @param directory folder of the bundle, `<models>/<name>/<version>`
 */
async function withModel<T extends object>(
  directory: string,
  quick: boolean,
  plan: CorePlan,
  work: (bench: Bench) => Promise<T>,
): Promise<T & { readonly model: string } & Record<string, unknown>> {
  const model = basename(dirname(directory));
  note(`bench: streaming: ${model} ...`);
  const { geometry } = await readBundle(directory);
  const server = await startSalad({
    models: dirname(dirname(directory)),
    cores: plan.server,
    environment: NO_QUEUE_LIMIT,
  });
  const raw = await RawEngine.start(directory, plan.server, plan.serverCores);
  try {
    const workload = tileWorkload(geometry);
    const scoredTiles = await warmUp(server, model, workload, quick);
    const rawBatchSize = await raw.bestBatchSize(quick ? 200 : 1000);
    const figures = await work({
      model,
      quick,
      plan,
      server,
      raw,
      rawBatchSize,
      workload,
      scoredTiles,
      grid: geometry,
    });
    return {
      model,
      engine: benchEngine(),
      cores: availableParallelism(),
      serverCores: plan.serverCores,
      pinned: plan.pinned,
      rawBatchSize,
      servedBatchLimit: server.batchLimits[`${model}@${basename(directory)}`] ?? null,
      ...figures,
    };
  } finally {
    await raw.stop();
    await server.stop();
  }
}

/**
 * Runs a load that is not measured: V8 optimises the code of the server only after thousands of messages.
 * @returns scored tiles per image
 */
async function warmUp(
  server: ServerProcess,
  model: string,
  workload: Workload,
  quick: boolean,
): Promise<number> {
  const client = new SaladClient(server.address);
  try {
    const { tiles, acquisitions } = await runLoad({
      clients: [client],
      kinds: [{ model: { name: model }, workload }],
      arrivals: { kind: 'streams', count: 8, intervalMs: 0 },
      durationMs: quick ? 2500 : 20_000,
      warmUpMs: 0,
      timeoutMs: 60_000,
    });
    return tiles.count / acquisitions.ok;
  } finally {
    client.close();
  }
}
