/** What crosses the thread boundary: small tasks and results; pixels and scores stay in shared memory. */
import type { EngineName, SearchOptions } from '../engines/engine.js';
import { ERROR_REASONS, type ErrorReason, SaladError } from '../errors/index.js';
import type { SlotShape } from './slots.js';

/** A model as workers know it: where its bundle lies and how its batches lie in a slot. */
export interface WorkerModel {
  /** `name@version`. */
  readonly key: string;
  readonly directory: string;
  /** Of the manifest: a bundle changed on disk since the server read it must not serve under the old name. */
  readonly sha256: string;
  readonly shape: SlotShape;
  /** Tiles a slot holds for this model. */
  readonly capacity: number;
}

/** Given to each worker once, at its start; a worker that replaces a dead one gets the same. */
export interface WorkerSetup {
  readonly models: readonly WorkerModel[];
  readonly slots: readonly SharedArrayBuffer[];
  readonly search: SearchOptions;
}

export type WorkerTask =
  /** Walks the ladder and says which engine passed the self-test of every model. */
  | { readonly type: 'select'; readonly preference: EngineName | 'auto' }
  /** Loads engine and all models, then waits until all `count` workers are this far. */
  | {
      readonly type: 'load';
      readonly engine: EngineName;
      readonly arrived: SharedArrayBuffer;
      readonly count: number;
    }
  | {
      readonly type: 'run';
      readonly engine: EngineName;
      readonly model: string;
      readonly slot: number;
      readonly count: number;
      /** Tiles the engine takes at once; the batch is run in pieces of this size. */
      readonly pieceSize: number;
      /** For tests of crash recovery: the thread ends instead of scoring. */
      readonly crash?: boolean;
    };

export interface SelectResult {
  readonly type: 'selected';
  readonly engine: EngineName;
  readonly device: string;
  /** Of the engine: null = as many as there are. */
  readonly maxWorkers: number | null;
  /** How each model's bank is searched, by model key. */
  readonly searches: Readonly<Record<string, string>>;
}
export interface LoadResult {
  readonly type: 'loaded';
  readonly threadId: number;
}
export interface RunResult {
  readonly type: 'ran';
  readonly computeMs: number;
}
/** Errors cross as data: their class would be lost. */
export interface FailureResult {
  readonly type: 'failed';
  readonly reason: ErrorReason;
  readonly message: string;
}
export type WorkerResult = SelectResult | LoadResult | RunResult | FailureResult;

/** An exception of the engine itself has no reason of ours: it is the engine that failed. */
export function failureFrom(error: unknown): FailureResult {
  const message = error instanceof Error ? error.message : String(error);
  return { type: 'failed', reason: error instanceof SaladError ? error.reason : 'ENGINE_FAILED', message };
}

export function errorFrom(failure: FailureResult): SaladError {
  const reason = Object.hasOwn(ERROR_REASONS, failure.reason) ? failure.reason : 'INTERNAL';
  return new SaladError(reason, failure.message);
}
