/** What the Open Inference Protocol costs callers of salad.v1: a server that has it beside one that has not. */
import { median, quartiles } from '../support/figures.js';
import type { ServerProcess } from '../support/server-process.js';
import { PortClient } from './client.js';
import type { InputForm } from './input-forms.js';
import { startInstant } from './instant-server.js';
import { inPairs, RUN_MS } from './pairs.js';
import { threadTime } from './thread-time.js';

const STREAMS = 8;

export interface UnusedProtocolOptions {
  readonly form: InputForm;
  /** Of the servers. */
  readonly cores: string;
  readonly quick: boolean;
}

interface Run {
  readonly imagesPerSecond: number;
  readonly p99Ms: number;
  /** CPU time of the port's thread per image, in ms. */
  readonly portMs: number;
}

/** Ratios of the server with the protocol to the one without it. The engine answers at once; all calls are salad.v1. */
export async function measureUnusedProtocol(options: UnusedProtocolOptions) {
  const { form, cores, quick } = options;
  const start = (openInference: boolean) => startInstant(cores, { openInference });
  const [having, lacking] = await Promise.all([start(true), start(false)]);
  try {
    for (const server of [having, lacking]) await run(form, server, quick ? 500 : 6000);
    const measure = (server: ServerProcess) => () => run(form, server, RUN_MS);
    const pairs = await inPairs(quick, measure(having), measure(lacking));
    const ratios = (figure: keyof Run) => pairs.map((pair) => pair.one[figure] / pair.other[figure]);
    return {
      streams: STREAMS,
      imagesPerSecondRatio: median(ratios('imagesPerSecond')),
      imagesPerSecondRatioQuartiles: quartiles(ratios('imagesPerSecond')),
      p99Ratio: median(ratios('p99Ms')),
      p99RatioQuartiles: quartiles(ratios('p99Ms')),
      portMsRatio: median(ratios('portMs')),
      portMsRatioQuartiles: quartiles(ratios('portMs')),
      imagesPerSecond: median(pairs.map((pair) => pair.one.imagesPerSecond)),
      p99Ms: median(pairs.map((pair) => pair.one.p99Ms)),
    };
  } finally {
    await Promise.all([having.stop(), lacking.stop()]);
  }
}

async function run(form: InputForm, server: ServerProcess, durationMs: number): Promise<Run> {
  const client = new PortClient(server.address);
  try {
    const before = threadTime(server.pid);
    const { images, ms, p99Ms } = await client.run(form, STREAMS, durationMs);
    const portMs = (threadTime(server.pid).main - before.main) / images;
    return { imagesPerSecond: (1000 * images) / ms, p99Ms, portMs };
  } finally {
    client.close();
  }
}
