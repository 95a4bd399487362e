/** Two server processes beside one: what the port can take, and the latency of real acquisitions. */
import { join } from 'node:path';
import { runLoad } from '../../clients/load/src/index.js';
import { SaladClient } from '../../clients/typescript/src/index.js';
import { readBundle } from '../../src/bundle/bundle.js';
import { shippedModels } from '../../src/util/package-root.js';
import { serverProcesses } from '../support/child-processes.js';
import { median, quartiles, spread } from '../support/figures.js';
import { NO_QUEUE_LIMIT, type ServerProcess, startSalad } from '../support/server-process.js';
import { tileWorkload } from '../support/workload.js';
import { PortClient } from './client.js';
import type { InputForm } from './input-forms.js';
import { startInstant } from './instant-server.js';
import { inPairs, RUN_MS } from './pairs.js';
import { threadTime } from './thread-time.js';

/** Connections, half of them to each of two processes. */
const CONNECTIONS = 4;
/** Enough that a process finds work whenever it runs: with less the figure would be that of processes that wait. */
const STREAMS_PER_CONNECTION = 8;
const LOAD_STREAMS = 64;

export interface TwoProcessesOptions {
  readonly model: string;
  readonly form: InputForm;
  /** Of the servers. */
  readonly cores: string;
  readonly quick: boolean;
}

export async function measureTwoProcesses(options: TwoProcessesOptions): Promise<Record<string, unknown>> {
  return { ...(await measureCapacity(options)), phantom64: await measureLatency(options) };
}

/**
 * The images that the port could take in a second in which all its threads are busy: other than the rate of this run, it
 * does not depend on how many cores are left for the clients. The engine answers at once.
 */
async function measureCapacity({ form, cores, quick }: TwoProcessesOptions) {
  const [one, two] = await Promise.all([startInstant(cores), startInstant(cores, { processes: 2 })]);
  try {
    for (const server of [one, two]) await run(form, server, quick ? 500 : 6000);
    const measure = (server: ServerProcess) => () => run(form, server, RUN_MS);
    const runs = await inPairs(quick, measure(one), measure(two));
    const ratios = runs.map((pair) => pair.other.perBusySecond / pair.one.perBusySecond);
    return {
      twoProcessesRatio: median(ratios),
      twoProcessesRatioRange: spread(ratios),
      twoProcessesRatioQuartiles: quartiles(ratios),
      /** CPU time of the busier of the two threads, of both: 0.5 where the images are spread evenly. */
      busierShare: median(runs.map((pair) => pair.other.busiestShare)),
      onePerBusySecond: median(runs.map((pair) => pair.one.perBusySecond)),
      twoPerBusySecond: median(runs.map((pair) => pair.other.perBusySecond)),
      /** Clients and servers share the machine: with few cores this is a ratio of the machine, not of the ports. */
      imagesPerSecondRatio: median(runs.map((pair) => pair.other.perSecond / pair.one.perSecond)),
    };
  } finally {
    await Promise.all([one.stop(), two.stop()]);
  }
}

interface PortRun {
  readonly perSecond: number;
  readonly perBusySecond: number;
  readonly busiestShare: number;
}

async function run(form: InputForm, server: ServerProcess, durationMs: number): Promise<PortRun> {
  const clients = Array.from({ length: CONNECTIONS }, () => new PortClient(server.address));
  const children = serverProcesses(server.pid);
  const pids = children.length === 0 ? [server.pid] : children;
  const portMs = () => pids.map((pid) => threadTime(pid).main);
  try {
    const before = portMs();
    const results = await Promise.all(
      clients.map((client) => client.run(form, STREAMS_PER_CONNECTION, durationMs)),
    );
    const busyMs = portMs().map((ms, index) => ms - before[index]!);
    const allBusyMs = busyMs.reduce((sum, ms) => sum + ms, 0);
    const images = results.reduce((sum, result) => sum + result.images, 0);
    const ms = Math.max(...results.map((result) => result.ms));
    return {
      perSecond: (1000 * images) / ms,
      perBusySecond: (1000 * images * busyMs.length) / allBusyMs,
      busiestShare: Math.max(...busyMs) / allBusyMs,
    };
  } finally {
    for (const client of clients) client.close();
  }
}

/** Tiles a second and latency at 64 streams with a real engine: the same cores, shared by one process or by two. */
async function measureLatency({ model, cores, quick }: TwoProcessesOptions) {
  const bundle = join(shippedModels(), model, '1');
  const { geometry } = await readBundle(bundle);
  const workload = tileWorkload(geometry);
  const start = (processes: number) =>
    startSalad({
      models: bundle,
      cores,
      environment: { ...NO_QUEUE_LIMIT, SALAD_PROCESSES: String(processes) },
    });
  const [one, two] = [await start(1), await start(2)];
  const load = async (server: ServerProcess) => {
    const clients = Array.from({ length: CONNECTIONS }, () => new SaladClient(server.address));
    try {
      const { tiles, acquisitions } = await runLoad({
        ...{ clients, kinds: [{ model: { name: model }, workload }], timeoutMs: 60_000 },
        arrivals: { kind: 'streams', count: LOAD_STREAMS, intervalMs: 0 },
        durationMs: quick ? 1200 : 6000,
        warmUpMs: quick ? 300 : 2000,
      });
      return { tilesPerSecond: tiles.perSecond, p99Ms: acquisitions.p99Ms, failed: acquisitions.failed };
    } finally {
      for (const client of clients) client.close();
    }
  };
  try {
    const runs = [];
    for (let repeat = 0; repeat < (quick ? 1 : 5); repeat++)
      runs.push([await load(one), await load(two)] as const);
    return {
      streams: LOAD_STREAMS,
      tilesPerSecondRatio: median(runs.map(([a, b]) => b.tilesPerSecond / a.tilesPerSecond)),
      p99Ratio: median(runs.map(([a, b]) => b.p99Ms / a.p99Ms)),
      failed: runs.flat().reduce((sum, { failed }) => sum + failed, 0),
    };
  } finally {
    await Promise.all([one.stop(), two.stop()]);
  }
}
