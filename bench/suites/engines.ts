/**
 * Every engine of this machine by itself: throughput over batch sizes, the share of the processor's peak, the same
 * ONNX bytes under Python's onnxruntime, and what the search adds to the encoder. Terms of a ratio take turns.
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
