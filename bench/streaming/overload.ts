/** Compares an open-loop load of twice the capacity of the server with one of 80 % of it. */
import { join } from 'node:path';
import {
  type Arrivals,
  type LoadOptions,
  type LoadResult,
  runLoad,
  type Workload,
} from '../../clients/load/src/index.js';
import { SaladClient } from '../../clients/typescript/src/index.js';
import { readBundle } from '../../src/bundle/bundle.js';
import { shippedModels } from '../../src/util/package-root.js';
import type { ServerProcess } from '../support/server-process.js';
import { tileWorkload } from '../support/workload.js';

const MODEL = 'phantom';
/** Several connections, as from several modalities. */
const CONNECTIONS = 4;

/** Streams that find the peak: enough for full batches, and fewer than admission refuses. */
const PEAK_STREAMS = 16;

/**
 * Goals at twice the sustainable rate: goodput of at least 95 % of the peak, and a p99 latency of the admitted
 * acquisitions of at most three times that at 80 %. The peak is that of the same server, just before.
 */
export async function measureOverload(
  server: ServerProcess,
  { quick }: { readonly quick: boolean },
): Promise<Record<string, unknown>> {
  const { geometry } = await readBundle(join(shippedModels(), MODEL, '1'));
  const offer = (arrivals: Arrivals) =>
    offerLoad(server.address, {
      arrivals,
      workload: tileWorkload(geometry),
      durationMs: quick ? 3000 : 20_000,
      warmUpMs: quick ? 500 : 5000,
    });
  const poisson = (ratePerSecond: number): Arrivals => ({ kind: 'poisson', ratePerSecond, seed: 7 });
  const peak = await offer({ kind: 'streams', count: PEAK_STREAMS, intervalMs: 0 });
  const normal = await offer(poisson(0.8 * peak.acquisitions.perSecond));
  const twice = await offer(poisson(2 * peak.acquisitions.perSecond));
  return {
    peakAcquisitionsPerSecond: peak.acquisitions.perSecond,
    peakTilesPerSecond: peak.tiles.perSecond,
    at80Percent: describe(normal, peak),
    at200Percent: describe(twice, peak),
    goodputOfPeak: twice.tiles.perSecond / peak.tiles.perSecond,
    admittedP99Ratio: twice.acquisitions.p99Ms / normal.acquisitions.p99Ms,
    refusalP99Ms: twice.acquisitions.refusals.p99Ms,
  };
}

async function offerLoad(
  address: string,
  {
    workload,
    ...options
  }: Pick<LoadOptions, 'arrivals' | 'durationMs' | 'warmUpMs'> & { readonly workload: Workload },
): Promise<LoadResult> {
  const clients = Array.from({ length: CONNECTIONS }, () => new SaladClient(address));
  try {
    const kinds = [{ model: { name: MODEL }, workload }];
    return await runLoad({ ...options, clients, kinds, timeoutMs: 60_000 });
  } finally {
    for (const client of clients) client.close();
  }
}

function describe({ acquisitions, tiles }: LoadResult, peak: LoadResult): Record<string, unknown> {
  return {
    goodputOfPeak: tiles.perSecond / peak.tiles.perSecond,
    admitted: acquisitions.ok,
    refused: acquisitions.refused,
    failed: acquisitions.failed,
    admittedP50Ms: acquisitions.p50Ms,
    admittedP99Ms: acquisitions.p99Ms,
    refusalP50Ms: acquisitions.refusals.p50Ms,
    refusalP99Ms: acquisitions.refusals.p99Ms,
  };
}
