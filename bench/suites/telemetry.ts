/** What telling costs: a server with Prometheus scraped and OTLP sent, beside one that tells nothing, in turns. */
import { createServer } from 'node:http';
import { type AddressInfo, createServer as createSocket } from 'node:net';
import { join } from 'node:path';
import { runLoad, type Workload } from '../../clients/load/src/index.js';
import { SaladClient } from '../../clients/typescript/src/index.js';
import { readBundle } from '../../src/bundle/bundle.js';
import { shippedModels } from '../../src/util/package-root.js';
import { planCores, withCores } from '../support/cores.js';
import { CpuWindow } from '../support/cpu-window.js';
import { median, spread } from '../support/figures.js';
import type { BenchOptions } from '../support/options.js';
import { NO_QUEUE_LIMIT, type ServerProcess, startSalad } from '../support/server-process.js';
import { tileWorkload } from '../support/workload.js';

const STREAMS = 8;
const SCRAPE_EVERY_MS = 1000;

interface Run {
  readonly tilesPerSecond: number;
  readonly cpuMsPerTile: number;
}

export async function benchTelemetry({ quick }: BenchOptions): Promise<Record<string, unknown>> {
  const plan = planCores();
  const receiver = await startReceiver();
  const metricsAt = `127.0.0.1:${await freePort()}`;
  const start = (environment: Readonly<Record<string, string>>) =>
    startSalad({
      models: shippedModels(),
      cores: plan.server,
      environment: { ...NO_QUEUE_LIMIT, ...environment },
    });
  return withCores(plan.client, async () => {
    const silent = await start({});
    const telling = await start({
      SALAD_METRICS_LISTEN: metricsAt,
      OTEL_EXPORTER_OTLP_ENDPOINT: receiver.endpoint,
      OTEL_EXPORTER_OTLP_PROTOCOL: 'http/protobuf',
    });
    const scraping = setInterval(() => void scrape(metricsAt), SCRAPE_EVERY_MS);
    try {
      const models: Record<string, unknown> = {};
      for (const model of ['phantom', 'chest-pediatric'])
        models[model] = await compare(model, silent, telling, quick);
      return { streams: STREAMS, models, otlpRequests: receiver.requests() };
    } finally {
      clearInterval(scraping);
      await Promise.all([silent.stop(), telling.stop()]);
      receiver.stop();
    }
  });
}

async function compare(
  model: string,
  silent: ServerProcess,
  telling: ServerProcess,
  quick: boolean,
): Promise<Record<string, unknown>> {
  const { geometry } = await readBundle(join(shippedModels(), model, '1'));
  const workload = tileWorkload(geometry);
  for (const server of [silent, telling]) await load(server, model, workload, quick ? 1000 : 15_000);
  const runs: { silent: Run; telling: Run }[] = [];
  for (let repeat = 0; repeat < (quick ? 1 : 5); repeat++) {
    const durationMs = quick ? 1000 : 4000;
    runs.push({
      silent: await load(silent, model, workload, durationMs),
      telling: await load(telling, model, workload, durationMs),
    });
  }
  const of = (pick: (run: (typeof runs)[number]) => number) => median(runs.map(pick));
  const costs = runs.map((run) => run.telling.cpuMsPerTile / run.silent.cpuMsPerTile - 1);
  return {
    silent: {
      tilesPerSecond: of((run) => run.silent.tilesPerSecond),
      cpuMsPerTile: of((run) => run.silent.cpuMsPerTile),
    },
    telling: {
      tilesPerSecond: of((run) => run.telling.tilesPerSecond),
      cpuMsPerTile: of((run) => run.telling.cpuMsPerTile),
    },
    /** Share of the silent server's. */
    throughputLoss: of((run) => 1 - run.telling.tilesPerSecond / run.silent.tilesPerSecond),
    cpuCost: median(costs),
    cpuCostRange: spread(costs),
  };
}

async function load(
  server: ServerProcess,
  model: string,
  workload: Workload,
  durationMs: number,
): Promise<Run> {
  const client = new SaladClient(server.address);
  const warmUpMs = 500;
  try {
    const usage = new CpuWindow(server.pid, warmUpMs, durationMs);
    const { tiles } = await runLoad({
      clients: [client],
      model: { name: model },
      arrivals: { kind: 'streams', count: STREAMS, intervalMs: 0 },
      workload,
      durationMs,
      warmUpMs,
      timeoutMs: 60_000,
    });
    const { serverCores } = await usage.result();
    return { tilesPerSecond: tiles.perSecond, cpuMsPerTile: (1000 * serverCores) / tiles.perSecond };
  } finally {
    client.close();
  }
}

async function scrape(at: string): Promise<void> {
  try {
    await (await fetch(`http://${at}/metrics`)).text();
  } catch {
    // The server is starting or stopping; the next scrape says more.
  }
}

/** Takes OTLP over HTTP and throws it away. */
async function startReceiver() {
  let requests = 0;
  const server = createServer((request, response) => {
    requests++;
    request.resume().on('end', () => response.end());
  });
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  const { port } = server.address() as AddressInfo;
  return { endpoint: `http://127.0.0.1:${port}`, requests: () => requests, stop: () => server.close() };
}

async function freePort(): Promise<number> {
  const socket = createSocket();
  await new Promise<void>((done) => socket.listen(0, '127.0.0.1', done));
  const { port } = socket.address() as AddressInfo;
  await new Promise((done) => socket.close(done));
  return port;
}
