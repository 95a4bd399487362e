/** Our engines of the processor over Python's onnxruntime and PyTorch, on the same cores, in turns. */
import { median } from '../support/figures.js';
import { type BankChoice, SOURCE_NAMES, type SourceName } from '../support/model-sources.js';
import {
  BANK_ROWS,
  BATCH_SIZE,
  type Figures,
  listsOf,
  type Plan,
  rateOf,
  startProcessors,
  stopAll,
  summaries,
} from './plan.js';
import { PythonRuntime } from './python.js';
import type { RunRequest } from './runner.js';

const PROBLEMS: readonly (readonly [SourceName, BankChoice])[] = [
  ['phantom', 'none'],
  ['phantom', 'own'],
  ['chest-pediatric', 'none'],
  ['chest-pediatric', 'own'],
  ['salad', 'none'],
  ['salad', BANK_ROWS],
  ['salad64', 'none'],
  ['salad64', BANK_ROWS],
];

/** The same ONNX bytes; of Python's two layouts the better one of every turn. */
export async function measurePython(plan: Plan): Promise<Figures> {
  const { durationMs, repeats, cores, threads } = plan;
  let python: PythonRuntime;
  try {
    python = await PythonRuntime.start('onnxruntime', threads, cores);
  } catch (error) {
    return { measured: false, reason: error instanceof Error ? error.message : String(error) };
  }
  const runners = await startProcessors(plan, threads);
  try {
    const figures: Figures = { onnxruntime: python.version };
    for (const [model, bank] of PROBLEMS) {
      const request: RunRequest = { model, bank, batchSize: BATCH_SIZE, durationMs };
      const theirs = listsOf(['sessions', 'threads']);
      const ours = listsOf(runners.keys());
      const ratios = listsOf(runners.keys());
      for (let repeat = 0; repeat < repeats; repeat++) {
        for (const layout of ['sessions', 'threads'] as const) {
          theirs.get(layout)!.push(rateOf(await python.run(request, layout)));
        }
        const best = Math.max(...[...theirs.values()].map((list) => list.at(-1)!));
        for (const [engine, runner] of runners) {
          const rate = rateOf(await runner.run(request));
          ours.get(engine)!.push(rate);
          ratios.get(engine)!.push(rate / best);
        }
      }
      figures[bank === 'none' ? `${model} encoder` : `${model} with bank`] = {
        oursTilesPerSecond: Object.fromEntries([...ours].map(([engine, list]) => [engine, median(list)])),
        pythonSessionPerCoreTilesPerSecond: median(theirs.get('sessions')!),
        pythonOneSessionTilesPerSecond: median(theirs.get('threads')!),
        oursOverPython: summaries(ratios),
      };
    }
    return figures;
  } finally {
    await stopAll(runners);
    await python.stop();
  }
}

/** Eager PyTorch, the better of its layouts: encoders alone, of the same weights. */
export async function measurePytorch(plan: Plan): Promise<Figures> {
  const { durationMs, repeats, cores, threads } = plan;
  if (process.env['SALAD_BENCH_PYTORCH'] !== '1') {
    // PyPI's wheel for Linux on x86 is the one for CUDA, and needs its libraries to load.
    return { measured: false, reason: 'SALAD_BENCH_PYTORCH=1 installs it from PyPI (5 GB) and measures it' };
  }
  let pytorch: PythonRuntime;
  try {
    pytorch = await PythonRuntime.start('pytorch', threads, cores);
  } catch (error) {
    return { measured: false, reason: error instanceof Error ? error.message : String(error) };
  }
  const runners = await startProcessors(plan, threads);
  try {
    const figures: Figures = { torch: pytorch.version };
    for (const model of SOURCE_NAMES) {
      const request: RunRequest = { model, bank: 'none', batchSize: BATCH_SIZE, durationMs };
      const theirs: number[] = [];
      const ratios = listsOf(runners.keys());
      for (let repeat = 0; repeat < repeats; repeat++) {
        const best = Math.max(
          rateOf(await pytorch.run(request, 'threads')),
          rateOf(await pytorch.run(request, 'sessions')),
        );
        theirs.push(best);
        for (const [engine, runner] of runners) {
          ratios.get(engine)!.push(rateOf(await runner.run(request)) / best);
        }
      }
      figures[model] = { pytorchTilesPerSecond: median(theirs), oursOverPytorch: summaries(ratios) };
    }
    return figures;
  } finally {
    await stopAll(runners);
    await pytorch.stop();
  }
}
