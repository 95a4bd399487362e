/** One thread of the raw engine: the same bundle, engine and batches as a worker of the server, and nothing else. */
import { parentPort, workerData } from 'node:worker_threads';
import { readBundle } from '../../src/bundle/bundle.js';
import { allocatePatchBatch } from '../../src/engines/batch.js';
import type { EngineName, TileBatch } from '../../src/engines/engine.js';
import { createEngine } from '../../src/engines/selection/select.js';

/** Ends after the tiles or after the time, whichever is first. */
export interface RawTask {
  readonly batchSize: number;
  readonly tiles: number;
  readonly durationMs: number;
}

const { bundleDirectory, engine: name } = workerData as { bundleDirectory: string; engine: EngineName };
const bundle = await readBundle(bundleDirectory);
const engine = await createEngine(name);
const model = await engine.load(bundle);
const tileBytes = bundle.geometry.tilePixels;
const batches = new Map<number, TileBatch>();
const patches = new Map<number, ReturnType<typeof allocatePatchBatch>>();

parentPort?.on('message', (task: RawTask) => {
  void run(task).then((tiles) => parentPort?.postMessage(tiles));
});
parentPort?.postMessage('ready');

/** @returns number of scored tiles */
async function run({ batchSize, tiles, durationMs }: RawTask): Promise<number> {
  if (!batches.has(batchSize)) await runBatch(batchSize);
  let scored = 0;
  const startMs = performance.now();
  while (scored < tiles && performance.now() - startMs < durationMs) {
    const size = Math.min(batchSize, tiles - scored);
    await runBatch(size);
    scored += size;
  }
  return scored;
}

async function runBatch(size: number): Promise<void> {
  let batch = batches.get(size);
  if (batch === undefined) {
    batch = goldenTiles(size);
    batches.set(size, batch);
    patches.set(size, allocatePatchBatch(size, model));
  }
  await model.run(batch, patches.get(size)!);
}

/** Repeats the golden tiles of the bundle: real content with its own positions in the grid. */
function goldenTiles(count: number): TileBatch {
  const { golden } = bundle;
  const goldenCount = golden.positions.length / 2;
  const pixels = new Uint8Array(new SharedArrayBuffer(count * tileBytes));
  const positions = new Int32Array(2 * count);
  for (let index = 0; index < count; index++) {
    const source = index % goldenCount;
    pixels.set(golden.pixels.subarray(source * tileBytes, (source + 1) * tileBytes), index * tileBytes);
    positions.set(golden.positions.subarray(2 * source, 2 * source + 2), 2 * index);
  }
  return { count, pixels, positions };
}
