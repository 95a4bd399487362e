/** Which engine serves: the fallback order, best first, each proven by the golden batches of the bundles. */
import { SaladError } from '../../errors/index.js';
import {
  ENGINE_NAMES,
  type Engine,
  type EngineInfo,
  type EngineName,
  type EngineOptions,
} from '../engine.js';
import { mayHaveCudaDevice } from '../tfjs/tensorflow/gpu.js';
import { type SelfTestBundle, type SelfTestResult, selfTest } from './golden-check.js';

export { type SelfTestBundle, type SelfTestResult, selfTest, selfTestModel } from './golden-check.js';

/** Made for a GPU: without one the processor's own engine serves better, so `auto` passes over them. */
const ACCELERATORS: ReadonlySet<EngineName> = new Set(['tensorflow', 'webgpu']);

/** What became of one engine of the fallback order, as `salad doctor` prints it. */
export interface Rung {
  readonly name: EngineName;
  /** It starts, and reproduces the golden scores of a bundle at least. */
  readonly usable: boolean;
  /** Why it cannot serve; null where it can. */
  readonly reason: string | null;
  readonly device: string | null;
  /** False for an emulation (see EngineInfo); null where the engine does not start. */
  readonly hardware: boolean | null;
  /** Against the golden batches, the largest; null where none was run. */
  readonly maxAbsScoreError: number | null;
  /** Of each bundle, in the order given; empty where none was run. */
  readonly selfTests: readonly SelfTestResult[];
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
  bundles: readonly SelfTestBundle[],
  preference: EngineName | 'auto',
  options: EngineOptions,
): Promise<Rung> {
  const unproven = { name, maxAbsScoreError: null, selfTests: [] };
  let engine: Engine;
  try {
    engine = await createEngine(name, options);
  } catch (error) {
    const reason = SaladError.from(error).message;
    return { ...unproven, usable: false, reason, device: null, hardware: null };
  }
  try {
    const { device, hardware } = engine.info;
    const refusal = passedOver(engine.info, preference);
    if (refusal !== null || bundles.length === 0) {
      return { ...unproven, usable: refusal === null, reason: refusal, device, hardware };
    }
    const selfTests: SelfTestResult[] = [];
    for (const bundle of bundles) selfTests.push(await selfTest(engine, bundle));
    const errors = selfTests.flatMap(({ maxAbsScoreError: error }) => (error === null ? [] : [error]));
    const maxAbsScoreError = errors.length === 0 ? null : Math.max(...errors);
    const usable = selfTests.some(({ passed }) => passed);
    const reason = usable ? null : (selfTests[0]?.reason ?? null);
    return { name, usable, reason, device, hardware, maxAbsScoreError, selfTests };
  } finally {
    await engine.dispose();
  }
}

/** Names the preference allows, best first. */
export function enginesFor(preference: EngineName | 'auto'): readonly EngineName[] {
  return preference === 'auto' ? ENGINE_NAMES : [preference];
}

/**
 * Tries every engine the preference allows, in the fallback order; `bestEngine` says which would serve.
 * @param bundles whose golden scores it must reproduce; without any an engine counts as usable when it starts.
 */
export async function ladder(
  preference: EngineName | 'auto',
  bundles: readonly SelfTestBundle[] = [],
  options: EngineOptions = {},
): Promise<readonly Rung[]> {
  const rungs: Rung[] = [];
  for (const name of enginesFor(preference)) {
    rungs.push(await tryEngine(name, bundles, preference, options));
  }
  return rungs;
}

/**
 * The first that can serve every bundle; where there is none, the first of those that can serve the most.
 * @throws SaladError ENGINE_UNAVAILABLE with every engine's reason where none is usable.
 */
export function bestEngine(rungs: readonly Rung[]): Rung {
  const served = ({ selfTests }: Rung): number => selfTests.filter(({ passed }) => passed).length;
  const [best] = rungs.filter(({ usable }) => usable).sort((a, b) => served(b) - served(a));
  if (best === undefined) {
    const reasons = rungs.map(({ name, reason }) => `${name}: ${reason}`).join('; ');
    throw new SaladError('ENGINE_UNAVAILABLE', `no engine is usable (${reasons})`);
  }
  return best;
}
