/** Latencies of single acquisitions: on an idle server, row by row, and of urgent ones under routine load. */
import { setTimeout as sleep } from 'node:timers/promises';
import { runLoad, type Workload } from '../../clients/load/src/index.js';
import { pacedChunks } from '../../clients/load/src/workload.js';
import { type PixelChunk, Priority, SaladClient, Source } from '../../clients/typescript/src/index.js';
import { median, spread } from '../support/figures.js';
import { phantomPixels } from '../support/workload.js';
import type { Bench } from './bench.js';

const ROUTINE_STREAMS = 32;

/** Sends one image in tiles, all at once. @returns time from the first byte to the aggregate, in ms */
async function acquire(client: SaladClient, bench: Bench, priority: Priority): Promise<number> {
  const { workload, model } = bench;
  const startMs = performance.now();
  await client.scoreAcquisition(
    {
      acquisitionId: `bench-${Math.round(startMs)}`,
      model: { name: model },
      image: { rows: workload.size, columns: workload.size, bitsAllocated: 8 },
      source: Source.SOURCE_TILES,
      priority,
    },
    (accepted) => pacedChunks(workload, accepted, startMs),
    { retry: false, timeoutMs: 60_000 },
  );
  return performance.now() - startMs;
}

/**
 * Compares the latency of the aggregate with the raw engine, alternately image by image. Goal: at most 1.3 times the
 * time of the raw engine plus 5 ms.
 */
export async function measureIdle(bench: Bench): Promise<Record<string, unknown>> {
  const repeats = bench.quick ? 5 : 30;
  const client = new SaladClient(bench.server.address);
  try {
    const tiles = bench.scoredTiles;
    const image = { kind: 'image', tiles, batchSize: bench.rawBatchSize } as const;
    await bench.raw.run(image);
    const served: number[] = [];
    const raw: number[] = [];
    for (let repeat = 0; repeat < repeats; repeat++) {
      served.push(await acquire(client, bench, Priority.PRIORITY_ROUTINE));
      raw.push((await bench.raw.run(image)).ms);
    }
    const servedMs = median(served);
    const rawMs = median(raw);
    return {
      tiles,
      repeats,
      servedMs,
      servedMsRange: spread(served),
      rawMs,
      boundMs: 1.3 * rawMs + 5,
      ratio: servedMs / rawMs,
      overBound: servedMs / (1.3 * rawMs + 5),
    };
  } finally {
    client.close();
  }
}

/** Sends rows at the pace of a detector and measures the share of rows sent when the first patch score arrives. */
export async function measureFirstScore(bench: Bench): Promise<Record<string, unknown>> {
  const rows = 512;
  const repeats = bench.quick ? 1 : 5;
  const workload: Workload = {
    mode: 'rows',
    size: rows,
    pixels: phantomPixels(rows),
    tilesPerMessage: 16,
    rowsPerMessage: 8,
    acquisitionMs: bench.quick ? 1000 : 2000,
  };
  const client = new SaladClient(bench.server.address);
  try {
    const sentAtFirst: number[] = [];
    for (let repeat = 0; repeat < repeats; repeat++)
      sentAtFirst.push(await rowsAtFirstScore(client, bench, workload));
    const rowsSent = median(sentAtFirst);
    return { rows, rowsPerSecond: (1000 * rows) / workload.acquisitionMs, rowsSent, share: rowsSent / rows };
  } finally {
    client.close();
  }
}

async function rowsAtFirstScore(client: SaladClient, bench: Bench, workload: Workload): Promise<number> {
  let sent = 0;
  let atFirst: number | undefined;
  async function* countRows(chunks: AsyncIterable<PixelChunk>): AsyncGenerator<PixelChunk> {
    for await (const chunk of chunks) {
      if (chunk.type === 'rows') sent = chunk.rows.firstRow + workload.rowsPerMessage;
      yield chunk;
    }
  }
  await client.scoreAcquisition(
    {
      acquisitionId: 'bench-rows',
      model: { name: bench.model },
      image: { rows: workload.size, columns: workload.size, bitsAllocated: 8 },
      source: Source.SOURCE_ROWS,
    },
    (accepted) => countRows(pacedChunks(workload, accepted, performance.now())),
    {
      retry: false,
      timeoutMs: 60_000,
      onEvent: (event) => {
        if (event.type === 'patches') atFirst ??= sent;
      },
    },
  );
  return atFirst ?? Number.NaN;
}

/**
 * Compares the latency of a STAT acquisition under full routine load with that on an idle server. Goal: at most 2 times.
 */
export async function measureStat(bench: Bench): Promise<Record<string, unknown>> {
  const repeats = bench.quick ? 4 : 20;
  const client = new SaladClient(bench.server.address);
  const routineClient = new SaladClient(bench.server.address);
  const endOfLoad = new AbortController();
  try {
    const idle: number[] = [];
    for (let repeat = 0; repeat < repeats; repeat++)
      idle.push(await acquire(client, bench, Priority.PRIORITY_STAT));
    const routine = runLoad({
      clients: [routineClient],
      kinds: [{ model: { name: bench.model }, workload: bench.workload }],
      arrivals: { kind: 'streams', count: ROUTINE_STREAMS, intervalMs: 0 },
      durationMs: 120_000,
      warmUpMs: 0,
      timeoutMs: 60_000,
      signal: endOfLoad.signal,
    });
    await sleep(bench.quick ? 500 : 2000);
    const loaded: number[] = [];
    for (let repeat = 0; repeat < repeats; repeat++) {
      loaded.push(await acquire(client, bench, Priority.PRIORITY_STAT));
      // Urgent images arrive with pauses between them.
      await sleep(50);
    }
    endOfLoad.abort();
    await routine;
    return {
      repeats,
      routineStreams: ROUTINE_STREAMS,
      idleMs: median(idle),
      loadedMs: median(loaded),
      loadedMsRange: spread(loaded),
      ratio: median(loaded) / median(idle),
    };
  } finally {
    client.close();
    routineClient.close();
  }
}
