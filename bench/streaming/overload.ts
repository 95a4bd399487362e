/** Arrivals that do not care whether the server keeps up: below its capacity, and at twice it. */
import { type LoadResult, runLoad } from '../../clients/load/src/index.js';
import { SaladClient } from '../../clients/typescript/src/index.js';
import type { Bench } from '../streaming.js';
import type { Peak } from './throughput.js';

/** Poisson arrivals over several connections, as many modalities would. */
const CONNECTIONS = 4;

/** "At twice the sustainable rate goodput stays at 95 % of the peak, p99 of the admitted within twice its value at 80 %." */
export async function measureOverload(bench: Bench, peak: Peak): Promise<Record<string, unknown>> {
  const durationMs = bench.quick ? 3000 : 20_000;
  const normal = await offer(bench, 0.8 * peak.acquisitionsPerSecond, durationMs);
  const twice = await offer(bench, 2 * peak.acquisitionsPerSecond, durationMs);
  return {
    peakAcquisitionsPerSecond: peak.acquisitionsPerSecond,
    peakTilesPerSecond: peak.tilesPerSecond,
    at80Percent: describe(normal, peak),
    at200Percent: describe(twice, peak),
    goodputOfPeak: twice.tiles.perSecond / peak.tilesPerSecond,
    admittedP99Ratio: twice.acquisitions.p99Ms / normal.acquisitions.p99Ms,
    refusalP99Ms: twice.acquisitions.refusals.p99Ms,
  };
}

async function offer(bench: Bench, ratePerSecond: number, durationMs: number): Promise<LoadResult> {
  const clients = Array.from({ length: CONNECTIONS }, () => new SaladClient(bench.server.address));
  try {
    return await runLoad({
      clients,
      model: { name: bench.model },
      arrivals: { kind: 'poisson', ratePerSecond, seed: 7 },
      workload: bench.workload,
      durationMs,
      warmUpMs: bench.quick ? 500 : 2000,
      timeoutMs: 60_000,
    });
  } finally {
    for (const client of clients) client.close();
  }
}

function describe({ acquisitions, tiles }: LoadResult, peak: Peak): Record<string, unknown> {
  return {
    goodputOfPeak: tiles.perSecond / peak.tilesPerSecond,
    admitted: acquisitions.ok,
    refused: acquisitions.refused,
    failed: acquisitions.failed,
    admittedP50Ms: acquisitions.p50Ms,
    admittedP99Ms: acquisitions.p99Ms,
    refusalP50Ms: acquisitions.refusals.p50Ms,
    refusalP99Ms: acquisitions.refusals.p99Ms,
  };
}
