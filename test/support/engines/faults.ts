/** Injects faults into engines in the worker threads of a server or pool that is started with `workerEntry`. */
import { fileURLToPath } from 'node:url';
import { getEnvironmentData, isMainThread, setEnvironmentData } from 'node:worker_threads';

/** Key of the memory that worker threads share with the main thread. */
const KEY = 'salad-serve-test-faults';

/** What happens to an engine in the middle of a run. */
export const FAULT_KINDS = [
  /** The thread ends, as in a native crash that does not end the process. */
  'exit',
  /** The engine never answers. */
  'hang',
  /** The engine throws once. */
  'throw',
  /** The engine throws in this run and in all later ones, as it does when its device is lost. */
  'lose',
] as const;
export type FaultKind = (typeof FAULT_KINDS)[number];

if (isMainThread) setEnvironmentData(KEY, new Int32Array(new SharedArrayBuffer(4)));
/** Shared by all threads: 1 + the index of the fault in FAULT_KINDS, 0 for none. */
export const faultState = getEnvironmentData(KEY) as unknown as Int32Array;

/** File of the worker threads, for `startServer` and `EnginePool.start`. */
export const workerEntry = fileURLToPath(new URL('faulty-worker.checkout.mjs', import.meta.url));

/** The next run of an engine fails, also where it is a golden check or part of the warm-up. */
export function injectFault(kind: FaultKind): void {
  Atomics.store(faultState, 0, FAULT_KINDS.indexOf(kind) + 1);
}
