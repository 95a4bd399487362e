/** The process of runner.ts: `node runner-process.js ENGINE THREADS`; receives requests over IPC. */
import { Worker } from 'node:worker_threads';
import type { RunAnswer, RunRequest } from './runner.js';
import type { WorkerAnswer } from './runner-worker.js';

const [, , engine = 'onnx', threads = '1'] = process.argv;
const workers = Array.from(
  { length: Number(threads) },
  () => new Worker(new URL('./runner-worker.js', import.meta.url), { workerData: { engine } }),
);

process.on('message', (request: RunRequest) => {
  void reply(() => run(request));
});
process.on('disconnect', () => process.exit());
await reply(async () => ({ device: (await nextAnswers())[0]!.device }));

async function reply(work: () => Promise<object>): Promise<void> {
  try {
    process.send?.(await work());
  } catch (error) {
    process.send?.({ failure: error instanceof Error ? error.message : String(error) });
  }
}

/** Loads the model on all threads, then starts them together. The time is the longest of all threads. */
async function run(request: RunRequest): Promise<RunAnswer> {
  const loaded = nextAnswers();
  for (const worker of workers) worker.postMessage({ ...request, durationMs: 0 });
  await loaded;
  const pending = nextAnswers();
  for (const worker of workers) worker.postMessage(request);
  const answers = await pending;
  return {
    tiles: answers.reduce((sum, { tiles }) => sum + tiles, 0),
    ms: Math.max(...answers.map(({ ms }) => ms)),
  };
}

/** The next answer of every worker. */
function nextAnswers(): Promise<WorkerAnswer[]> {
  return Promise.all(
    workers.map(
      (worker) =>
        new Promise<WorkerAnswer>((resolve, reject) => {
          worker.once('error', reject);
          worker.once('message', (answer: WorkerAnswer) => {
            worker.off('error', reject);
            if (answer.failure === undefined) resolve(answer);
            else reject(new Error(answer.failure));
          });
        }),
    ),
  );
}
