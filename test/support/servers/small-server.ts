/** A real server with the small random bundle, and acquisitions that fit it. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  type AcquisitionAggregate,
  type AcquisitionEvent,
  type PixelChunk,
  SaladClient,
  Source,
} from '../../../clients/typescript/src/index.js';
import { loadConfig } from '../../../src/config/load.js';
import { type RunningServer, type ServerOptions, startServer } from '../../../src/server/server.js';
import { createRandom } from '../../../src/util/random.js';
import { type SmallBundleOptions, writeSmallBundle } from '../engines/small-bundle.js';

/** Side of the source images. */
export const SIDE = 64;

export interface ModelsFolder {
  readonly path: string;
  remove(): Promise<void>;
}

export async function smallModels(options: SmallBundleOptions = {}): Promise<ModelsFolder> {
  const path = await mkdtemp(join(tmpdir(), 'salad-small-'));
  await writeSmallBundle(path, options);
  return { path, remove: () => rm(path, { recursive: true, force: true }) };
}

/** In this process, on a free port unless `listen` is given. */
export async function startSmall(
  models: string | readonly string[],
  flags: Readonly<Record<string, unknown>> = {},
  options: ServerOptions = {},
): Promise<RunningServer> {
  const config = await loadConfig({
    flags: {
      models,
      listen: '127.0.0.1:0',
      engine: 'onnx',
      workers: 1,
      maxBatchSize: 8,
      engineStandbyDelayMs: 0,
      ...flags,
    },
  });
  return startServer(config, options);
}

export function smallImage(seed: number): Uint8Array {
  const random = createRandom(seed);
  return Uint8Array.from({ length: SIDE * SIDE }, () => Math.floor(random() * 256));
}

export function smallHeader(acquisitionId: string) {
  return {
    acquisitionId,
    model: { name: 'small' },
    image: { rows: SIDE, columns: SIDE, bitsAllocated: 8 },
    source: Source.SOURCE_ROWS,
  };
}

export function smallRows(image: Uint8Array, rowsPerMessage = 8): PixelChunk[] {
  const chunks: PixelChunk[] = [];
  for (let firstRow = 0; firstRow < SIDE; firstRow += rowsPerMessage) {
    const samples = image.subarray(firstRow * SIDE, (firstRow + rowsPerMessage) * SIDE);
    chunks.push({ type: 'rows', rows: { firstRow, samples } });
  }
  return chunks;
}

/** What of a result does not depend on the time it took. */
export function essence(aggregate: AcquisitionAggregate) {
  const { timings: _timings, ...rest } = aggregate;
  return rest;
}

/** Patch scores by place, and a complaint where one comes twice. */
export class PatchCollector {
  readonly scores = new Map<string, number>();
  aggregates = 0;

  take(event: AcquisitionEvent): void {
    if (event.type === 'aggregate') this.aggregates += 1;
    if (event.type !== 'patches') return;
    for (const { row, column, score } of event.patches) {
      const place = `${row},${column}`;
      if (this.scores.has(place)) throw new Error(`patch ${place} came twice`);
      this.scores.set(place, score);
    }
  }

  reset(): void {
    this.scores.clear();
    this.aggregates = 0;
  }
}

/** One image through the port of a server of its own. */
export async function scoreOnce(models: string, flags: Readonly<Record<string, unknown>>) {
  const server = await startSmall(models, flags);
  const client = new SaladClient(server.address);
  const patches = new PatchCollector();
  let aggregate: AcquisitionAggregate | undefined;
  try {
    for await (const event of client.streamAcquisition(smallHeader('once'), smallRows(smallImage(3)))) {
      patches.take(event);
      if (event.type === 'aggregate') aggregate = event.aggregate;
    }
  } finally {
    client.close();
    await server.stop(0);
  }
  if (aggregate === undefined) throw new Error('no aggregate came');
  return { scores: patches.scores, aggregate };
}
