/** Compares the CPU engines with Python's onnxruntime and PyTorch, alternately on the same cores. */
import { median } from '../support/figures.js';
import { type BankChoice, SOURCE_NAMES, type SourceName } from '../support/model-sources.js';
import {
  BANK_ROWS,
  BATCH_SIZE,
  type Figures,
  listsOf,
  type Plan,
  rateOf,
  startCpuEngines,
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

/** Compares with Python's onnxruntime on the same ONNX file; the better of its two thread layouts counts in each repeat. */
export async function measurePython(plan: Plan): Promise<Figures> {
  const { durationMs, repeats, cores, threads } = plan;
  let python: PythonRuntime;
  try {
    python = await PythonRuntime.start('onnxruntime', threads, cores);
  } catch (error) {
    return { measured: false, reason: error instanceof Error ? error.message : String(error) };
  }
  const runners = await startCpuEngines(plan, threads);
  try {
    const figures: Figures = { onnxruntime: python.version };
    for (const [model, bank] of PROBLEMS) {
      const request: RunRequest = { model, bank, batchSize: BATCH_SIZE, durationMs };
      const pythonRates = listsOf(['sessions', 'threads']);
      const engineRates = listsOf(runners.keys());
      const ratios = listsOf(runners.keys());
      for (let repeat = 0; repeat < repeats; repeat++) {
        for (const layout of ['sessions', 'threads'] as const) {
          pythonRates.get(layout)!.push(rateOf(await python.run(request, layout)));
        }
        const best = Math.max(...[...pythonRates.values()].map((list) => list.at(-1)!));
        for (const [engine, runner] of runners) {
          const rate = rateOf(await runner.run(request));
          engineRates.get(engine)!.push(rate);
          ratios.get(engine)!.push(rate / best);
        }
      }
      figures[bank === 'none' ? `${model} encoder` : `${model} with bank`] = {
        oursTilesPerSecond: Object.fromEntries(
          [...engineRates].map(([engine, list]) => [engine, median(list)]),
        ),
        pythonSessionPerCoreTilesPerSecond: median(pythonRates.get('sessions')!),
        pythonOneSessionTilesPerSecond: median(pythonRates.get('threads')!),
        oursOverPython: summaries(ratios),
      };
    }
    return figures;
  } finally {
    await stopAll(runners);
    await python.stop();
  }
}

/** Compares encoders alone with eager PyTorch on the same weights; the better of its two thread layouts counts. */
export async function measurePytorch(plan: Plan): Promise<Figures> {
  const { durationMs, repeats, cores, threads } = plan;
  if (process.env['SALAD_BENCH_PYTORCH'] !== '1') {
    // The PyPI wheel for Linux on x86 is the CUDA build, which needs the CUDA libraries to load.
    return { measured: false, reason: 'SALAD_BENCH_PYTORCH=1 installs it from PyPI (5 GB) and measures it' };
  }
  let pytorch: PythonRuntime;
  try {
    pytorch = await PythonRuntime.start('pytorch', threads, cores);
  } catch (error) {
    return { measured: false, reason: error instanceof Error ? error.message : String(error) };
  }
  const runners = await startCpuEngines(plan, threads);
  try {
    const figures: Figures = { torch: pytorch.version };
    for (const model of SOURCE_NAMES) {
      const request: RunRequest = { model, bank: 'none', batchSize: BATCH_SIZE, durationMs };
      const pytorchRates: number[] = [];
      const ratios = listsOf(runners.keys());
      for (let repeat = 0; repeat < repeats; repeat++) {
        const best = Math.max(
          rateOf(await pytorch.run(request, 'threads')),
          rateOf(await pytorch.run(request, 'sessions')),
        );
        pytorchRates.push(best);
        for (const [engine, runner] of runners) {
          ratios.get(engine)!.push(rateOf(await runner.run(request)) / best);
        }
      }
      figures[model] = { pytorchTilesPerSecond: median(pytorchRates), oursOverPytorch: summaries(ratios) };
    }
    return figures;
  } finally {
    await stopAll(runners);
    await pytorch.stop();
  }
}
