/** The process of raw-engine.ts: `node raw-engine-process.js BUNDLE THREADS ENGINE`; receives requests over IPC. */
import { Worker } from 'node:worker_threads';
import type { RawAnswer, RawRequest } from './raw-engine.js';
import type { RawTask } from './raw-engine-worker.js';

const [, , bundleDirectory = '', threads = '1', engine = 'onnx'] = process.argv;
const workers = Array.from(
  { length: Number(threads) },
  () =>
    new Worker(new URL('./raw-engine-worker.js', import.meta.url), {
      workerData: { bundleDirectory, engine },
    }),
);
await Promise.all(workers.map(nextMessage));

process.on('message', (request: RawRequest) => {
  void run(request).then((answer) => process.send?.(answer));
});
process.on('disconnect', () => process.exit());
process.send?.('ready');

async function run(request: RawRequest): Promise<RawAnswer> {
  const cpuBefore = process.cpuUsage();
  const startMs = performance.now();
  const counts = await Promise.all(
    workers.map((worker, index) => {
      worker.postMessage(taskOf(request, index));
      return nextMessage(worker) as Promise<number>;
    }),
  );
  const { user, system } = process.cpuUsage(cpuBefore);
  return {
    tiles: counts.reduce((sum, count) => sum + count, 0),
    ms: performance.now() - startMs,
    cpuMs: (user + system) / 1000,
  };
}

function taskOf(request: RawRequest, index: number): RawTask {
  if (request.kind === 'throughput') return { ...request, tiles: Number.POSITIVE_INFINITY };
  const share = Math.floor((request.tiles + index) / workers.length);
  return { batchSize: request.batchSize, tiles: share, durationMs: Number.POSITIVE_INFINITY };
}

function nextMessage(worker: Worker): Promise<unknown> {
  return new Promise((resolve, reject) => {
    worker.once('message', resolve);
    worker.once('error', reject);
  });
}
