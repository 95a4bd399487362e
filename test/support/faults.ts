/** Engines that fail on demand: worker threads of a server that is started with `workerEntry` take them from here. */
import { fileURLToPath } from 'node:url';
import { setEnvironmentData } from 'node:worker_threads';
import { ENGINE_NAMES, type EngineName } from '../../src/engines/engine.js';

/** Under which worker threads find the memory they share with this one. */
export const FAULTS_KEY = 'salad-serve-test-faults';

/** What happens to an engine in the middle of a run. */
export const FAULT_KINDS = [
  /** The thread ends: what is left to see of a native crash that spared the process. */
  'exit',
  /** The engine never answers. */
  'hang',
  /** It throws, once. */
  'throw',
  /** It throws from then on always, as one does whose device is lost. */
  'lose',
] as const;
export type FaultKind = (typeof FAULT_KINDS)[number];

/** Places of the shared memory. */
export const FAULT = { kind: 0, left: 1, engine: 2 } as const;

const state = new Int32Array(new SharedArrayBuffer(12));
setEnvironmentData(FAULTS_KEY, state);

/** File of the worker threads, for `startServer` and `EnginePool.start`. */
export const workerEntry = fileURLToPath(new URL('faulty-worker.checkout.mjs', import.meta.url));

/** The next `times` runs fail. @param options.engine only those of this engine */
export function injectFault(
  kind: FaultKind,
  { times = 1, engine }: { readonly times?: number; readonly engine?: EngineName } = {},
): void {
  Atomics.store(state, FAULT.kind, FAULT_KINDS.indexOf(kind));
  Atomics.store(state, FAULT.engine, engine === undefined ? -1 : ENGINE_NAMES.indexOf(engine));
  Atomics.store(state, FAULT.left, times);
}

/** Faults that no run has met yet. */
export function faultsLeft(): number {
  return Atomics.load(state, FAULT.left);
}
