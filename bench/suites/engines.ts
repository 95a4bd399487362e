/**
 * Suite `engines`: measures every engine of this machine without a server. Compares the throughput with batch size, with
 * the peak of the processor, with the same ONNX file in Python's onnxruntime, and the encoder with and without search.
 * The two terms of a ratio are measured alternately.
 */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { ENGINE_NAMES, type EngineName } from '../../src/engines/engine.js';
import { packageRoot } from '../../src/util/package-root.js';
import { measurePython, measurePytorch } from '../engines/against-python.js';
import { measurePrecisions, measureSearch } from '../engines/one-thread.js';
import { measurePeak } from '../engines/peak-share.js';
import { type Figures, type Plan, rateOf } from '../engines/plan.js';
import { Runner } from '../engines/runner.js';
import { planCores } from '../support/cores.js';
import { convolutionMacs } from '../support/macs.js';
import { benchSource, SOURCE_NAMES, type SourceName } from '../support/model-sources.js';
import type { BenchOptions } from '../support/options.js';

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
    reducedPrecision: await measurePrecisions(plan),
    pytorch: await measurePytorch(plan),
  };
}

/** Variables that select SwiftShader, if it is installed; the Vulkan loader reads them when a process starts. */
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

/** Throughput of the shipped models with their banks over batch sizes, on one thread, both models in one process. */
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
    // A software adapter scores about one tile per second, so that a curve over batch sizes has no meaning.
    const isSoftware = engine === 'webgpu' && /software/.test(runner.device);
    for (const model of isSoftware ? (['phantom'] as const) : (['phantom', 'chest-pediatric'] as const)) {
      const tilesPerSecond: Record<number, number> = {};
      for (const batchSize of isSoftware ? [1] : batchSizes) {
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
