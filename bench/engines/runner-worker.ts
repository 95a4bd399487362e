/** A worker thread of runner-process.ts with one engine; models stay loaded. */
import { parentPort, workerData } from 'node:worker_threads';
import { allocatePatchBatch } from '../../src/engines/batch.js';
import type { Engine, EngineModel, EngineName, TileBatch } from '../../src/engines/engine.js';
import { createEngine } from '../../src/engines/selection/select.js';
import type { Geometry } from '../../src/geometry/geometry.js';
import { createRandom } from '../../src/util/random.js';
import { benchSource } from '../support/model-sources.js';
import type { RunRequest } from './runner.js';

export interface WorkerAnswer {
  readonly tiles: number;
  readonly ms: number;
  readonly device: string;
  readonly failure?: string;
}

interface LoadedModel {
  readonly model: EngineModel;
  readonly geometry: Geometry;
}

const { engine: name } = workerData as { engine: EngineName };
const models = new Map<string, LoadedModel>();
let engine: Engine | undefined;

parentPort?.on('message', (request: RunRequest) => {
  void answer(() => run(request));
});
await answer(async () => {
  engine = await createEngine(name);
  return { tiles: 0, ms: 0 };
});

async function answer(work: () => Promise<{ tiles: number; ms: number }>): Promise<void> {
  try {
    const result = await work();
    parentPort?.postMessage({ ...result, device: engine?.info.device ?? '' });
  } catch (error) {
    parentPort?.postMessage({ failure: error instanceof Error ? error.message : String(error) });
  }
}

/** Runs batches for the given time. With a time of 0, only loads the model and runs one batch. */
async function run({ model: source, bank, precision, batchSize, durationMs }: RunRequest) {
  const key = `${source}/${bank}/${precision}`;
  let loaded = models.get(key);
  if (loaded === undefined) {
    const parts = await benchSource(source, bank, precision);
    loaded = { model: await engine!.load(parts), geometry: parts.geometry };
    models.set(key, loaded);
  }
  const batch = noiseTiles(loaded.geometry, batchSize);
  const patches = allocatePatchBatch(batchSize, loaded.model);
  if (durationMs === 0) await loaded.model.run(batch, patches);
  let tiles = 0;
  const startMs = performance.now();
  while (performance.now() - startMs < durationMs) {
    await loaded.model.run(batch, patches);
    tiles += batchSize;
  }
  return { tiles, ms: performance.now() - startMs };
}

/** Tiles of noise, because the content does not change the time; in shared memory, like those of the server's pool. */
function noiseTiles({ tilePixels, tileRows, tileColumns }: Geometry, count: number): TileBatch {
  const random = createRandom(count);
  const pixels = new Uint8Array(new SharedArrayBuffer(count * tilePixels));
  for (let at = 0; at < pixels.length; at++) pixels[at] = Math.floor(random() * 256);
  const positions = Int32Array.from(
    { length: 2 * count },
    (_, at) => (at >> 1) % (at % 2 === 0 ? tileRows : tileColumns),
  );
  return { count, pixels, positions };
}
