/**
 * Creates engines by name, and chooses the engine that serves: the first in the fallback order that passes its checks.
 */
import { SaladError } from '../../errors/index.js';
import {
  ENGINE_NAMES,
  type Engine,
  type EngineInfo,
  type EngineName,
  type EngineOptions,
} from '../engine.js';
import { mayHaveCudaDevice } from '../tfjs/tensorflow/gpu.js';
import { type GoldenCheckBundle, type GoldenCheckResult, runGoldenCheck } from './golden-check.js';

/** Engines made for a GPU. Without one, an engine for the processor is faster, so `auto` skips them. */
const ACCELERATORS: ReadonlySet<EngineName> = new Set(['tensorflow', 'webgpu']);

/** The checks of one engine. The JSON of `salad doctor` has these fields. */
export interface EngineReport {
  readonly name: EngineName;
  /** Whether it starts and reproduces the golden scores of at least one bundle. */
  readonly usable: boolean;
  /** Why it is not usable; null where it is. */
  readonly reason: string | null;
  readonly device: string | null;
  /** False for an emulation (see EngineInfo); null where the engine does not start. */
  readonly hardware: boolean | null;
  /** Largest error of all golden checks; null where none ran. */
  readonly maxAbsScoreError: number | null;
  /** The golden check of each bundle, in the order given; empty where none ran. The JSON keeps this older name. */
  readonly selfTests: readonly GoldenCheckResult[];
}

/**
 * Imports the engine's library only when the engine is created: an engine that is not used costs nothing.
 * @throws SaladError ENGINE_UNAVAILABLE with the reason.
 */
export async function createEngine(name: EngineName, options: EngineOptions = {}): Promise<Engine> {
  switch (name) {
    case 'openvino': {
      const { createOpenVinoEngine } = await import('../openvino/openvino-engine.js');
      return createOpenVinoEngine(options.openvinoFolder, options.sessionThreads);
    }
    case 'onnx': {
      const { createOnnxEngine } = await import('../onnx/onnx-engine.js');
      return createOnnxEngine(options);
    }
    case 'wasm': {
      const { createWasmEngine } = await import('../tfjs/wasm/wasm-engine.js');
      return createWasmEngine();
    }
    case 'tensorflow': {
      const { createTensorflowEngine } = await import('../tfjs/tensorflow/tensorflow-engine.js');
      return createTensorflowEngine();
    }
    case 'webgpu': {
      const { createWebgpuEngine } = await import('../tfjs/webgpu/webgpu-engine.js');
      return createWebgpuEngine();
    }
  }
}

/** Why `auto` skips an engine that started; null where the engine may serve. */
export function skipReason({ name, hardware }: EngineInfo, preference: EngineName | 'auto'): string | null {
  if (preference !== 'auto' || hardware || !ACCELERATORS.has(name)) return null;
  return 'no GPU: it serves only where it is chosen by name';
}

/**
 * Why `auto` skips an engine without starting it; null where the engine must be started to decide. A server without a GPU
 * then does not load TensorFlow. `salad doctor` starts it nevertheless, to report its error.
 */
export function skipReasonBeforeStart(name: EngineName, preference: EngineName | 'auto'): string | null {
  if (preference !== 'auto' || name !== 'tensorflow' || mayHaveCudaDevice()) return null;
  return 'there is no NVIDIA device: it serves only where it is chosen by name';
}

async function checkEngine(
  name: EngineName,
  bundles: readonly GoldenCheckBundle[],
  preference: EngineName | 'auto',
  options: EngineOptions,
): Promise<EngineReport> {
  const unchecked = { name, maxAbsScoreError: null, selfTests: [] };
  let engine: Engine;
  try {
    engine = await createEngine(name, options);
  } catch (error) {
    const reason = SaladError.from(error).message;
    return { ...unchecked, usable: false, reason, device: null, hardware: null };
  }
  try {
    const { device, hardware } = engine.info;
    const skipped = skipReason(engine.info, preference);
    if (skipped !== null || bundles.length === 0) {
      return { ...unchecked, usable: skipped === null, reason: skipped, device, hardware };
    }
    const results: GoldenCheckResult[] = [];
    for (const bundle of bundles) results.push(await runGoldenCheck(engine, bundle));
    const errors = results.flatMap(({ maxAbsScoreError: error }) => (error === null ? [] : [error]));
    const maxAbsScoreError = errors.length === 0 ? null : Math.max(...errors);
    const usable = results.some(({ passed }) => passed);
    const reason = usable ? null : (results[0]?.reason ?? null);
    return { name, usable, reason, device, hardware, maxAbsScoreError, selfTests: results };
  } finally {
    await engine.dispose();
  }
}

/** The engines that may serve, in the fallback order: all of them under `auto`, else the one chosen by name. */
export function candidateEngines(preference: EngineName | 'auto'): readonly EngineName[] {
  return preference === 'auto' ? ENGINE_NAMES : [preference];
}

/**
 * Starts and checks every candidate engine, in the fallback order. `bestEngine` chooses from the result.
 * @param bundles their golden scores are checked; without any, an engine counts as usable where it starts.
 */
export async function checkEngines(
  preference: EngineName | 'auto',
  bundles: readonly GoldenCheckBundle[] = [],
  options: EngineOptions = {},
): Promise<readonly EngineReport[]> {
  const reports: EngineReport[] = [];
  for (const name of candidateEngines(preference)) {
    reports.push(await checkEngine(name, bundles, preference, options));
  }
  return reports;
}

/**
 * The first engine that can serve every bundle; where there is none, the first of those that can serve the most.
 * @throws SaladError ENGINE_UNAVAILABLE with every engine's reason where none is usable.
 */
export function bestEngine(reports: readonly EngineReport[]): EngineReport {
  const servedBundles = ({ selfTests }: EngineReport): number =>
    selfTests.filter(({ passed }) => passed).length;
  const [best] = reports.filter(({ usable }) => usable).sort((a, b) => servedBundles(b) - servedBundles(a));
  if (best === undefined) {
    const reasons = reports.map(({ name, reason }) => `${name}: ${reason}`).join('; ');
    throw new SaladError('ENGINE_UNAVAILABLE', `no engine is usable (${reasons})`);
  }
  return best;
}
