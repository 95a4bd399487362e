/**
 * Suite `telemetry`: compares a server whose metrics are scraped and whose traces are sent over OTLP with a server
 * without telemetry, alternately.
 */
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { runLoad, type Workload } from '../../clients/load/src/index.js';
import { SaladClient } from '../../clients/typescript/src/index.js';
import { readBundle } from '../../src/bundle/bundle.js';
import { shippedModels } from '../../src/util/package-root.js';
import { planCores, withCores } from '../support/cores.js';
import { CpuWindow } from '../support/cpu-window.js';
import { median, spread } from '../support/figures.js';
import { freePort } from '../support/free-port.js';
import type { BenchOptions } from '../support/options.js';
import { NO_QUEUE_LIMIT, type ServerProcess, startSalad } from '../support/server-process.js';
import { tileWorkload } from '../support/workload.js';

const STREAMS = 8;
const SCRAPE_INTERVAL_MS = 1000;

interface Run {
  readonly tilesPerSecond: number;
  readonly cpuMsPerTile: number;
}

export async function benchTelemetry({ quick }: BenchOptions): Promise<Record<string, unknown>> {
  const plan = planCores();
  const receiver = await startReceiver();
  const metricsAddress = `127.0.0.1:${await freePort()}`;
  const start = (environment: Readonly<Record<string, string>>) =>
    startSalad({
      models: shippedModels(),
      cores: plan.server,
      environment: { ...NO_QUEUE_LIMIT, ...environment },
    });
  return withCores(plan.client, async () => {
    const plain = await start({});
    const exporting = await start({
      SALAD_METRICS_LISTEN: metricsAddress,
      OTEL_EXPORTER_OTLP_ENDPOINT: receiver.endpoint,
      OTEL_EXPORTER_OTLP_PROTOCOL: 'http/protobuf',
    });
    const scraping = setInterval(() => void scrape(metricsAddress), SCRAPE_INTERVAL_MS);
    try {
      const models: Record<string, unknown> = {};
      for (const model of ['phantom', 'chest-pediatric'])
        models[model] = await compare(model, plain, exporting, quick);
      return { streams: STREAMS, models, otlpRequests: receiver.requests() };
    } finally {
      clearInterval(scraping);
      await Promise.all([plain.stop(), exporting.stop()]);
      receiver.stop();
    }
  });
}

async function compare(
  model: string,
  plain: ServerProcess,
  exporting: ServerProcess,
  quick: boolean,
): Promise<Record<string, unknown>> {
  const { geometry } = await readBundle(join(shippedModels(), model, '1'));
  const workload = tileWorkload(geometry);
  for (const server of [plain, exporting]) await load(server, model, workload, quick ? 1000 : 15_000);
  const runs: { plain: Run; exporting: Run }[] = [];
  for (let repeat = 0; repeat < (quick ? 1 : 5); repeat++) {
    const durationMs = quick ? 1000 : 4000;
    runs.push({
      plain: await load(plain, model, workload, durationMs),
      exporting: await load(exporting, model, workload, durationMs),
    });
  }
  const of = (pick: (run: (typeof runs)[number]) => number) => median(runs.map(pick));
  const costs = runs.map((run) => run.exporting.cpuMsPerTile / run.plain.cpuMsPerTile - 1);
  return {
    silent: {
      tilesPerSecond: of((run) => run.plain.tilesPerSecond),
      cpuMsPerTile: of((run) => run.plain.cpuMsPerTile),
    },
    telling: {
      tilesPerSecond: of((run) => run.exporting.tilesPerSecond),
      cpuMsPerTile: of((run) => run.exporting.cpuMsPerTile),
    },
    /** As a share of the throughput without telemetry. */
    throughputLoss: of((run) => 1 - run.exporting.tilesPerSecond / run.plain.tilesPerSecond),
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
      kinds: [{ model: { name: model }, workload }],
      arrivals: { kind: 'streams', count: STREAMS, intervalMs: 0 },
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

async function scrape(address: string): Promise<void> {
  try {
    await (await fetch(`http://${address}/metrics`)).text();
  } catch {
    // The server is starting or stopping; the next scrape will succeed.
  }
}

/** Starts a server that receives OTLP over HTTP and discards it. */
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
