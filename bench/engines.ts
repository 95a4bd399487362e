/**
 * Every engine of this machine by itself: throughput over batch sizes, the share of the processor's peak, the same
 * ONNX bytes under Python's onnxruntime, and what the search adds to the encoder. Terms of a ratio take turns.
 */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { packageRoot } from '../src/cli/paths.js';
import { ENGINE_NAMES, type EngineName, type Precision } from '../src/engines/engine.js';
import { convolutionShare } from './engines/convolution-share.js';
import { buildPeakProbe } from './engines/peak.js';
import { PythonRuntime } from './engines/python.js';
import { type RunAnswer, Runner, type RunRequest } from './engines/runner.js';
import { type BankChoice, benchSource, SOURCE_NAMES, type SourceName } from './engines/sources.js';
import type { BenchOptions } from './main.js';
import { planCores } from './support/cores.js';
import { median, spread } from './support/figures.js';
import { convolutionMacs } from './support/macs.js';

interface Plan {
  readonly durationMs: number;
  readonly repeats: number;
  readonly batchSizes: readonly number[];
  /** Taskset list of the cores that all terms run on; empty = all. */
  readonly cores: string;
  readonly threads: number;
}

type Figures = Record<string, unknown>;

/** Tiles at once where one batch size has to do: every engine is near its best there. */
const BATCH_SIZE = 16;
/** Prototypes of the bank whose search is compared with the encoder. */
const BANK_ROWS = 10_000;

export async function benchEngines({ quick }: BenchOptions): Promise<Figures> {
  const { server, serverCores, pinned } = planCores();
  const plan: Plan = {
    durationMs: quick ? 150 : 1500,
    repeats: quick ? 1 : 7,
    batchSizes: quick ? [1, 16] : [1, 2, 4, 8, 16, 32, 64],
    cores: server,
    threads: serverCores,
  };
  const macs: Partial<Record<SourceName, number>> = {};
  for (const name of SOURCE_NAMES) macs[name] = convolutionMacs((await benchSource(name, 'none')).network);
  const curves: Figures = {};
  for (const engine of ENGINE_NAMES) curves[engine] = await measureCurves(engine, plan, macs, quick);
  return {
    cores: serverCores,
    pinned,
    repeats: plan.repeats,
    convolutionMacsPerTile: macs,
    oneThread: curves,
    peak: await measurePeak(plan, macs),
    pythonOnnxruntime: await measurePython(plan),
    search: await measureSearch(plan),
    int8: await measureInt8(plan),
    pytorch: await measurePytorch(plan),
  };
}

const rateOf = ({ tiles, ms }: RunAnswer) => (1000 * tiles) / ms;

/** SwiftShader where it was fetched; the loader reads these when a process starts. */
function environmentOf(engine: EngineName): Record<string, string> {
  const folder = join(packageRoot(), '.cache/swiftshader');
  if (engine !== 'webgpu' || !existsSync(join(folder, 'icd.json'))) return {};
  return {
    VK_ICD_FILENAMES: join(folder, 'icd.json'),
    VK_LOADER_LAYERS_DISABLE: '*',
    LD_LIBRARY_PATH: folder,
    XDG_RUNTIME_DIR: join(folder, 'run'),
  };
}

/** The shipped models with their banks on one thread, both in one process. */
async function measureCurves(
  engine: EngineName,
  { durationMs, batchSizes, cores }: Plan,
  macs: Partial<Record<SourceName, number>>,
  quick: boolean,
): Promise<Figures> {
  let runner: Runner;
  try {
    runner = await Runner.start({ engine, threads: 1, cores, environment: environmentOf(engine) });
  } catch (error) {
    return { usable: false, reason: error instanceof Error ? error.message : String(error) };
  }
  try {
    const figures: Figures = { usable: true, device: runner.device };
    // An adapter in software scores a tile a second; its curve says nothing.
    const software = engine === 'webgpu' && /software/.test(runner.device);
    for (const model of software ? (['phantom'] as const) : (['phantom', 'chest-pediatric'] as const)) {
      const tilesPerSecond: Record<number, number> = {};
      for (const batchSize of software ? [1] : batchSizes) {
        const request = { model, bank: 'own', batchSize, durationMs: quick ? 100 : durationMs } as const;
        tilesPerSecond[batchSize] = rateOf(await runner.run(request));
      }
      const best = Math.max(...Object.values(tilesPerSecond));
      figures[model] = { tilesPerSecond, gigaMacPerSecond: (best * macs[model]!) / 1e9 };
    }
    return figures;
  } finally {
    await runner.stop();
  }
}

/** The encoders alone on all cores against fused multiply-adds on all cores, turn by turn. */
async function measurePeak(
  { durationMs, repeats, cores, threads }: Plan,
  macs: Partial<Record<SourceName, number>>,
): Promise<Figures> {
  const probe = buildPeakProbe();
  if (probe.probe === null) return { measured: false, reason: probe.reason };
  const runner = await Runner.start({ engine: 'onnx', threads, cores });
  try {
    const peaks: number[] = [];
    const shares = new Map<SourceName, number[]>(SOURCE_NAMES.map((name) => [name, []]));
    const peak = () => {
      const gigaFlops = probe.measure(threads, durationMs / 1000, cores);
      peaks.push(gigaFlops);
      return gigaFlops;
    };
    for (let repeat = 0; repeat < repeats; repeat++) {
      for (const model of SOURCE_NAMES) {
        const before = peak();
        const tiles = rateOf(await runner.run({ model, bank: 'none', batchSize: BATCH_SIZE, durationMs }));
        shares.get(model)!.push((2e-9 * tiles * macs[model]!) / ((before + peak()) / 2));
      }
    }
    const convolutions: Partial<Record<SourceName, Figures>> = {};
    for (const [name, list] of shares) {
      const share = await convolutionShare(await benchSource(name, 'none'), BATCH_SIZE, 4 * repeats);
      convolutions[name] = { shareOfEncoderTime: share, shareOfPeak: median(list) / share };
    }
    return {
      probe: probe.probe,
      gigaFlops: median(peaks),
      gigaFlopsRange: spread(peaks),
      // Operations of the convolutions over the time of the whole encoder.
      encoderShareOfPeak: Object.fromEntries([...shares].map(([name, list]) => [name, summary(list)])),
      // The same operations over the part of that time which onnxruntime spends in convolutions.
      convolutions,
    };
  } finally {
    await runner.stop();
  }
}

const summary = (values: readonly number[]) => ({ median: median(values), range: spread(values) });

/** Our pool over Python's onnxruntime; of its two layouts the better one of every turn. */
async function measurePython({ durationMs, repeats, cores, threads }: Plan): Promise<Figures> {
  let python: PythonRuntime;
  try {
    python = await PythonRuntime.start('onnxruntime', threads, cores);
  } catch (error) {
    return { measured: false, reason: error instanceof Error ? error.message : String(error) };
  }
  const runner = await Runner.start({ engine: 'onnx', threads, cores });
  try {
    const figures: Figures = { onnxruntime: python.version };
    const problems: readonly (readonly [SourceName, BankChoice])[] = [
      ['phantom', 'none'],
      ['phantom', 'own'],
      ['chest-pediatric', 'none'],
      ['chest-pediatric', 'own'],
      ['salad', 'none'],
      ['salad', BANK_ROWS],
      ['salad64', 'none'],
      ['salad64', BANK_ROWS],
    ];
    for (const [model, bank] of problems) {
      const request: RunRequest = { model, bank, batchSize: BATCH_SIZE, durationMs };
      const turns = { ours: [] as number[], sessions: [] as number[], threads: [] as number[] };
      const ratios: number[] = [];
      for (let repeat = 0; repeat < repeats; repeat++) {
        const first = rateOf(await runner.run(request));
        const sessions = rateOf(await python.run(request, 'sessions'));
        const ours = (first + rateOf(await runner.run(request))) / 2;
        const intra = rateOf(await python.run(request, 'threads'));
        turns.ours.push(ours);
        turns.sessions.push(sessions);
        turns.threads.push(intra);
        ratios.push(ours / Math.max(sessions, intra));
      }
      figures[bank === 'none' ? `${model} encoder` : `${model} with bank`] = {
        oursTilesPerSecond: median(turns.ours),
        pythonSessionPerCoreTilesPerSecond: median(turns.sessions),
        pythonOneSessionTilesPerSecond: median(turns.threads),
        oursOverPython: summary(ratios),
      };
    }
    return figures;
  } finally {
    await runner.stop();
    await python.stop();
  }
}

/** Our pool over eager PyTorch, the better of its layouts: encoders alone, of the same weights. */
async function measurePytorch({ durationMs, repeats, cores, threads }: Plan): Promise<Figures> {
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
  const runner = await Runner.start({ engine: 'onnx', threads, cores });
  try {
    const figures: Figures = { torch: pytorch.version };
    for (const model of SOURCE_NAMES) {
      const request: RunRequest = { model, bank: 'none', batchSize: BATCH_SIZE, durationMs };
      const turns: { readonly ours: number; readonly theirs: number }[] = [];
      for (let repeat = 0; repeat < repeats; repeat++) {
        const theirs = Math.max(
          rateOf(await pytorch.run(request, 'threads')),
          rateOf(await pytorch.run(request, 'sessions')),
        );
        turns.push({ theirs, ours: rateOf(await runner.run(request)) });
      }
      figures[model] = {
        pytorchTilesPerSecond: median(turns.map(({ theirs }) => theirs)),
        oursOverPytorch: summary(turns.map(({ ours, theirs }) => ours / theirs)),
      };
    }
    return figures;
  } finally {
    await runner.stop();
    await pytorch.stop();
  }
}

/** Time of a tile with a bank over its time without, less one: one thread, in turns, in one process. */
async function measureSearch({ durationMs, repeats, cores }: Plan): Promise<Figures> {
  const runner = await Runner.start({ engine: 'onnx', threads: 1, cores });
  try {
    const figures: Figures = { prototypes: BANK_ROWS };
    for (const model of SOURCE_NAMES) {
      const run = async (bank: BankChoice) => {
        const { ms, tiles } = await runner.run({ model, bank, batchSize: BATCH_SIZE, durationMs });
        return ms / tiles;
      };
      const added: number[] = [];
      let before = await run('none');
      for (let repeat = 0; repeat < repeats; repeat++) {
        const fused = await run(BANK_ROWS);
        const after = await run('none');
        added.push(fused / ((before + after) / 2) - 1);
        before = after;
      }
      figures[model] = { encoderMsPerTile: before, addedShare: summary(added) };
    }
    return figures;
  } finally {
    await runner.stop();
  }
}

/** float32 over int8 time of a tile, encoders alone: one thread, in turns, in one process. */
async function measureInt8({ durationMs, repeats, cores }: Plan): Promise<Figures> {
  const runner = await Runner.start({ engine: 'onnx', threads: 1, cores });
  try {
    const figures: Figures = {};
    for (const model of ['salad', 'salad64'] as const) {
      const run = async (precision: Precision) =>
        rateOf(await runner.run({ model, bank: 'none', precision, batchSize: BATCH_SIZE, durationMs }));
      const turns: { readonly float32: number; readonly int8: number }[] = [];
      for (let repeat = 0; repeat < repeats; repeat++) {
        turns.push({ float32: await run('float32'), int8: await run('int8') });
      }
      figures[model] = {
        float32TilesPerSecond: median(turns.map(({ float32 }) => float32)),
        int8TilesPerSecond: median(turns.map(({ int8 }) => int8)),
        int8Ratio: summary(turns.map(({ float32, int8 }) => int8 / float32)),
      };
    }
    return figures;
  } finally {
    await runner.stop();
  }
}
