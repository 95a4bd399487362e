/** Compares the tiles per second of the server with those of the raw engine on the same cores. */
import { availableParallelism } from 'node:os';
import { type LoadResult, runLoad } from '../../clients/load/src/index.js';
import { SaladClient } from '../../clients/typescript/src/index.js';
import { CpuWindow } from '../support/cpu-window.js';
import { median, spread } from '../support/figures.js';
import type { RawAnswer } from '../support/raw-engine.js';
import type { Bench } from './bench.js';

interface ServerRun {
  readonly tilesPerSecond: number;
  readonly acquisitionsPerSecond: number;
  /** Ratio to the mean of the raw runs before and after this run. */
  readonly ratio: number;
  readonly cpuMsPerTile: number;
  readonly clientCores: number;
  readonly serverCores: number;
  readonly load: LoadResult;
}

export async function measureThroughput(
  bench: Bench,
  streamCounts: readonly number[],
): Promise<Record<string, unknown>> {
  const repeats = bench.quick ? 1 : 5;
  const durationMs = bench.quick ? 1200 : 4000;
  const rawRuns: RawAnswer[] = [];
  const served = new Map<number, ServerRun[]>(streamCounts.map((streams) => [streams, []]));
  const runRaw = async () => {
    const answer = await bench.raw.run({ kind: 'throughput', batchSize: bench.rawBatchSize, durationMs });
    rawRuns.push(answer);
    return rateOf(answer);
  };
  // Alternately, so that a slow phase of the machine affects both terms of every ratio.
  let before = await runRaw();
  for (let repeat = 0; repeat < repeats; repeat++) {
    for (const streams of streamCounts) {
      const run = await serve(bench, streams, durationMs);
      const after = await runRaw();
      served
        .get(streams)
        ?.push({ ...run, ratio: run.tilesPerSecond / availableRawRate(bench, run, (before + after) / 2) });
      before = after;
    }
  }
  const rawCpuMsPerTile = median(rawRuns.map(({ cpuMs, tiles }) => cpuMs / tiles));
  const summaries = [...served].map(
    ([streams, runs]) => [streams, summarise(runs, rawCpuMsPerTile, bench.scoredTiles)] as const,
  );
  return {
    repeats,
    rawTilesPerSecond: median(rawRuns.map(rateOf)),
    rawTilesPerSecondRange: spread(rawRuns.map(rateOf)),
    rawImagesPerSecond: median(rawRuns.map(rateOf)) / bench.scoredTiles,
    rawCpuMsPerTile,
    /** Per image, because the tiles of two bundles may differ in size. */
    rawCpuMsPerImage: rawCpuMsPerTile * bench.scoredTiles,
    served: Object.fromEntries(summaries),
  };
}

const rateOf = ({ tiles, ms }: RawAnswer) => (1000 * tiles) / ms;

/** Without pinning, the raw rate is scaled to the cores that the client did not use. */
function availableRawRate(bench: Bench, run: Pick<ServerRun, 'clientCores'>, rawRate: number): number {
  if (bench.plan.pinned) return rawRate;
  const cores = availableParallelism();
  return (rawRate * (cores - run.clientCores)) / cores;
}

function summarise(runs: readonly ServerRun[], rawCpuMsPerTile: number, tilesPerImage: number) {
  const of = (pick: (run: ServerRun) => number) => median(runs.map(pick));
  return {
    tilesPerSecond: of((run) => run.tilesPerSecond),
    imagesPerSecond: of((run) => run.acquisitionsPerSecond),
    ratio: of((run) => run.ratio),
    ratioRange: spread(runs.map((run) => run.ratio)),
    /** CPU time per tile of the raw engine over that of the server, which other load on the machine hardly changes. */
    cpuRatio: rawCpuMsPerTile / of((run) => run.cpuMsPerTile),
    cpuMsPerTile: of((run) => run.cpuMsPerTile),
    cpuMsPerImage: of((run) => run.cpuMsPerTile) * tilesPerImage,
    clientCores: of((run) => run.clientCores),
    serverCores: of((run) => run.serverCores),
    batchFill: of((run) => run.load.batchFill),
    jain: of((run) => run.load.jain ?? Number.NaN),
    acquisitionP50Ms: of((run) => run.load.acquisitions.p50Ms),
    acquisitionP99Ms: of((run) => run.load.acquisitions.p99Ms),
    tileP99Ms: of((run) => run.load.tiles.p99Ms),
    failed: Math.max(...runs.map((run) => run.load.acquisitions.failed + run.load.acquisitions.refused)),
  };
}

async function serve(bench: Bench, streams: number, durationMs: number): Promise<Omit<ServerRun, 'ratio'>> {
  const client = new SaladClient(bench.server.address);
  try {
    const warmUpMs = bench.quick ? 300 : 1000;
    const usage = new CpuWindow(bench.server.pid, warmUpMs, durationMs);
    const load = await runLoad({
      clients: [client],
      kinds: [{ model: { name: bench.model }, workload: bench.workload }],
      arrivals: { kind: 'streams', count: streams, intervalMs: 0 },
      durationMs,
      warmUpMs,
      timeoutMs: 60_000,
    });
    const { clientCores, serverCores } = await usage.result();
    return {
      tilesPerSecond: load.tiles.perSecond,
      acquisitionsPerSecond: load.tiles.perSecond / bench.scoredTiles,
      cpuMsPerTile: (1000 * serverCores) / load.tiles.perSecond,
      clientCores,
      serverCores,
      load,
    };
  } finally {
    client.close();
  }
}
