/** Which engine serves: the ladder, best first, each rung proven by the bundle's golden batch. */
import { SaladError } from '../errors/index.js';
import { ENGINE_NAMES, type Engine, type EngineName } from './engine.js';
import { type SelfTestBundle, selfTest } from './self-test.js';

export { type SelfTestBundle, type SelfTestResult, selfTest, selfTestModel } from './self-test.js';

const NOT_BUILT = 'not built into this version';

/** One rung of the ladder, as `salad doctor` prints it. */
export interface Rung {
  readonly name: EngineName;
  readonly usable: boolean;
  /** Why it cannot serve; null where it can. */
  readonly reason: string | null;
  readonly device: string | null;
  /** Against the golden batch; null where none was run. */
  readonly maxAbsScoreError: number | null;
}

/**
 * The backend is imported here and not before: an engine that is not used costs nothing.
 * @throws SaladError ENGINE_UNAVAILABLE with the reason.
 */
export async function createEngine(name: EngineName): Promise<Engine> {
  switch (name) {
    case 'onnx': {
      const { createOnnxEngine } = await import('./onnx/onnx-engine.js');
      return createOnnxEngine();
    }
    case 'wasm': {
      const { createWasmEngine } = await import('./wasm/wasm-engine.js');
      return createWasmEngine();
    }
    case 'tensorflow':
    case 'webgpu':
      throw new SaladError('ENGINE_UNAVAILABLE', `engine ${name} is ${NOT_BUILT}`);
  }
}

async function tryEngine(name: EngineName, bundle: SelfTestBundle | undefined): Promise<Rung> {
  let engine: Engine;
  try {
    engine = await createEngine(name);
  } catch (error) {
    const reason = SaladError.from(error).message;
    return { name, usable: false, reason, device: null, maxAbsScoreError: null };
  }
  try {
    const { device } = engine.info;
    if (bundle === undefined) return { name, usable: true, reason: null, device, maxAbsScoreError: null };
    const { passed, maxAbsScoreError, reason } = await selfTest(engine, bundle);
    return { name, usable: passed, reason: reason ?? null, device, maxAbsScoreError };
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
): Promise<readonly Rung[]> {
  const rungs: Rung[] = [];
  for (const name of enginesFor(preference)) rungs.push(await tryEngine(name, bundle));
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
