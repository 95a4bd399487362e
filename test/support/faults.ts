/** Engines that fail on demand: worker threads of a server that is started with `workerEntry` take them from here. */
import { fileURLToPath } from 'node:url';
import { getEnvironmentData, isMainThread, setEnvironmentData } from 'node:worker_threads';

/** Under which worker threads find the memory they share with the main thread. */
const KEY = 'salad-serve-test-faults';

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

if (isMainThread) setEnvironmentData(KEY, new Int32Array(new SharedArrayBuffer(4)));
/** Shared by all threads: 1 + the place of the fault in FAULT_KINDS, 0 for none. */
export const faultState = getEnvironmentData(KEY) as unknown as Int32Array;

/** File of the worker threads, for `startServer` and `EnginePool.start`. */
export const workerEntry = fileURLToPath(new URL('faulty-worker.checkout.mjs', import.meta.url));

/** The next run of an engine fails, a self-test or warm-up too. */
export function injectFault(kind: FaultKind): void {
  Atomics.store(faultState, 0, FAULT_KINDS.indexOf(kind) + 1);
}
