/** Which engine serves: the ladder, best first, each rung proven by the bundle's golden batch. */
import { SaladError } from '../../errors/index.js';
import {
  ENGINE_NAMES,
  type Engine,
  type EngineInfo,
  type EngineName,
  type EngineOptions,
} from '../engine.js';
import { mayHaveCudaDevice } from '../tfjs/tensorflow/gpu.js';
import { type SelfTestBundle, selfTest } from './golden-check.js';

export { type SelfTestBundle, type SelfTestResult, selfTest, selfTestModel } from './golden-check.js';

/** Made for a GPU: without one the processor's own engine serves better, so `auto` passes over them. */
const ACCELERATORS: ReadonlySet<EngineName> = new Set(['tensorflow', 'webgpu']);

/** One rung of the ladder, as `salad doctor` prints it. */
export interface Rung {
  readonly name: EngineName;
  readonly usable: boolean;
  /** Why it cannot serve; null where it can. */
  readonly reason: string | null;
  readonly device: string | null;
  /** False for an emulation (see EngineInfo); null where the engine does not start. */
  readonly hardware: boolean | null;
  /** Against the golden batch; null where none was run. */
  readonly maxAbsScoreError: number | null;
}

/**
 * The backend is imported here and not before: an engine that is not used costs nothing.
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

/** Why `auto` does not take an engine that starts; null where it may serve. */
export function passedOver({ name, hardware }: EngineInfo, preference: EngineName | 'auto'): string | null {
  if (preference !== 'auto' || hardware || !ACCELERATORS.has(name)) return null;
  return 'no GPU: it serves only where it is chosen by name';
}

/**
 * The same question before an engine is started, where the answer is certain: a server that `auto` puts on the
 * processor need not hold TensorFlow in memory. `salad doctor` starts it all the same, to tell what it says.
 */
export function passedOverUnstarted(name: EngineName, preference: EngineName | 'auto'): string | null {
  if (preference !== 'auto' || name !== 'tensorflow' || mayHaveCudaDevice()) return null;
  return 'there is no NVIDIA device: it serves only where it is chosen by name';
}

async function tryEngine(
  name: EngineName,
  bundle: SelfTestBundle | undefined,
  preference: EngineName | 'auto',
  options: EngineOptions,
): Promise<Rung> {
  let engine: Engine;
  try {
    engine = await createEngine(name, options);
  } catch (error) {
    const reason = SaladError.from(error).message;
    return { name, usable: false, reason, device: null, hardware: null, maxAbsScoreError: null };
  }
  try {
    const { device, hardware } = engine.info;
    const reason = passedOver(engine.info, preference);
    if (reason !== null) {
      return { name, usable: false, reason, device, hardware, maxAbsScoreError: null };
    }
    if (bundle === undefined) {
      return { name, usable: true, reason: null, device, hardware, maxAbsScoreError: null };
    }
    const { passed, maxAbsScoreError, reason: failure } = await selfTest(engine, bundle);
    return { name, usable: passed, reason: failure ?? null, device, hardware, maxAbsScoreError };
  } finally {
    await engine.dispose();
  }
}

/** Names the preference allows, best first. */
export function enginesFor(preference: EngineName | 'auto'): readonly EngineName[] {
  return preference === 'auto' ? ENGINE_NAMES : [preference];
}

/**
 * Tries every engine the preference allows, in the ladder's order. The first usable one serves.
 * @param bundle without one an engine counts as usable when it starts.
 */
export async function ladder(
  preference: EngineName | 'auto',
  bundle?: SelfTestBundle,
  options: EngineOptions = {},
): Promise<readonly Rung[]> {
  const rungs: Rung[] = [];
  for (const name of enginesFor(preference)) {
    rungs.push(await tryEngine(name, bundle, preference, options));
  }
  return rungs;
}

/** @throws SaladError ENGINE_UNAVAILABLE with every rung's reason where none is usable. */
export function bestEngine(rungs: readonly Rung[]): EngineName {
  const best = rungs.find((rung) => rung.usable);
  if (best === undefined) {
    const reasons = rungs.map(({ name, reason }) => `${name}: ${reason}`).join('; ');
    throw new SaladError('ENGINE_UNAVAILABLE', `no engine is usable (${reasons})`);
  }
  return best.name;
}
