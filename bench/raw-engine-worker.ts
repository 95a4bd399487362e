/** One thread of the raw engine: the same bundle, engine and batch as the server's workers, and nothing else. */
import { parentPort, workerData } from 'node:worker_threads';
import { allocatePatchBatch } from '../src/engines/batch.js';
import { createEngine } from '../src/engines/select.js';
import { readBundle } from '../src/model/bundle.js';

export interface RawEngineRequest {
  readonly batchSize: number;
  readonly durationMs: number;
}

const { bundleDirectory } = workerData as { bundleDirectory: string };
const bundle = await readBundle(bundleDirectory);
const engine = await createEngine('onnx');
const model = await engine.load(bundle);
const tileBytes = bundle.geometry.tileSize ** 2;

parentPort?.on('message', (request: RawEngineRequest) => {
  void run(request).then((tilesPerSecond) => parentPort?.postMessage(tilesPerSecond));
});
parentPort?.postMessage('ready');

/** Golden tiles over and over: real content, every position in the grid they came with. */
async function run({ batchSize, durationMs }: RawEngineRequest): Promise<number> {
  const golden = bundle.golden;
  const goldenCount = golden.positions.length / 2;
  const pixels = new Uint8Array(new SharedArrayBuffer(batchSize * tileBytes));
  const positions = new Int32Array(2 * batchSize);
  for (let i = 0; i < batchSize; i++) {
    const source = i % goldenCount;
    pixels.set(golden.pixels.subarray(source * tileBytes, (source + 1) * tileBytes), i * tileBytes);
    positions.set(golden.positions.subarray(2 * source, 2 * source + 2), 2 * i);
  }
  const patches = allocatePatchBatch(batchSize, model);
  const batch = { count: batchSize, pixels, positions };
  await model.run(batch, patches);
  let tiles = 0;
  const started = performance.now();
  while (performance.now() - started < durationMs) {
    await model.run(batch, patches);
    tiles += batchSize;
  }
  return (1000 * tiles) / (performance.now() - started);
}
