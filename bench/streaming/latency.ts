/** Single acquisitions: on an idle server, row by row, and urgent ones while routine ones fill it. */
import { setTimeout as sleep } from 'node:timers/promises';
import { runLoad, type Workload } from '../../clients/load/src/index.js';
import { pacedChunks } from '../../clients/load/src/workload.js';
import { type PixelChunk, Priority, SaladClient, Source } from '../../clients/typescript/src/index.js';
import { median, spread } from '../support/figures.js';
import { phantomPixels } from '../support/workload.js';
import type { Bench } from './bench.js';

const ROUTINE_STREAMS = 32;

/** One image in tiles, sent at once: milliseconds from the first byte to the aggregate. */
async function acquire(client: SaladClient, bench: Bench, priority: Priority): Promise<number> {
  const { workload, model } = bench;
  const started = performance.now();
  await client.scoreAcquisition(
    {
      acquisitionId: `bench-${Math.round(started)}`,
      model: { name: model },
      image: { rows: workload.size, columns: workload.size, bitsAllocated: 8 },
      source: Source.SOURCE_TILES,
      priority,
    },
    (accepted) => pacedChunks(workload, accepted, started),
    { retry: false, timeoutMs: 60_000 },
  );
  return performance.now() - started;
}

/** "Aggregate latency at most 1.3 times its raw compute plus 5 ms", image by image beside the raw engine. */
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

/** Rows at a detector's pace: what share of them has been sent when the first patch score is here. */
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
  async function* counted(chunks: AsyncIterable<PixelChunk>): AsyncGenerator<PixelChunk> {
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
    (accepted) => counted(pacedChunks(workload, accepted, performance.now())),
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

/** "A STAT acquisition under full routine load finishes within 2 times its idle latency." */
export async function measureStat(bench: Bench): Promise<Record<string, unknown>> {
  const repeats = bench.quick ? 4 : 20;
  const client = new SaladClient(bench.server.address);
  const routineClient = new SaladClient(bench.server.address);
  const over = new AbortController();
  try {
    const idle: number[] = [];
    for (let repeat = 0; repeat < repeats; repeat++)
      idle.push(await acquire(client, bench, Priority.PRIORITY_STAT));
    const routine = runLoad({
      clients: [routineClient],
      model: { name: bench.model },
      arrivals: { kind: 'streams', count: ROUTINE_STREAMS, intervalMs: 0 },
      workload: bench.workload,
      durationMs: 120_000,
      warmUpMs: 0,
      timeoutMs: 60_000,
      signal: over.signal,
    });
    await sleep(bench.quick ? 500 : 2000);
    const loaded: number[] = [];
    for (let repeat = 0; repeat < repeats; repeat++) {
      loaded.push(await acquire(client, bench, Priority.PRIORITY_STAT));
      // Urgent images come one at a time, not in a row.
      await sleep(50);
    }
    over.abort();
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
