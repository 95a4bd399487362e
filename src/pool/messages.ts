/** What crosses the thread boundary: small tasks and results; pixels and scores stay in shared memory. */
import type { EngineName, EngineOptions, Precision, SearchOptions } from '../engines/engine.js';
import { ERROR_REASONS, type ErrorReason, SaladError } from '../errors/index.js';
import type { SlotShape } from './slots.js';

/** A model as workers know it: where its bundle lies and how its batches lie in a slot. */
export interface WorkerModel {
  /** `name@version`. */
  readonly key: string;
  readonly directory: string;
  /** Of the manifest: a bundle changed on disk since the server read it must not serve under the old name. */
  readonly sha256: string;
  /** Asked for; an engine or a bundle without int8 gives float32. */
  readonly precision: Precision;
  readonly shape: SlotShape;
  /** Tiles a slot holds for this model. */
  readonly capacity: number;
}

/** Given to each worker once, at its start; a worker that replaces a dead one gets the same. */
export interface WorkerSetup {
  readonly models: readonly WorkerModel[];
  readonly slots: readonly SharedArrayBuffer[];
  readonly search: SearchOptions;
  readonly engineOptions: EngineOptions;
}

/** For tests of fail-over: what happens to the engine before it has scored the last piece of a batch. */
export type Fault =
  /** The thread ends: what is left to see of a native crash that spared the process. */
  | { readonly kind: 'exit' }
  /** The engine never answers. */
  | { readonly kind: 'hang' }
  /** The engine throws; where it lasts, from then on always, as one does whose device is lost. */
  | { readonly kind: 'throw'; readonly message: string; readonly lasting: boolean };

export type WorkerTask =
  /** Walks these rungs and says which engine passed the self-test of every model. */
  | {
      readonly type: 'select';
      readonly engines: readonly EngineName[];
      readonly preference: EngineName | 'auto';
    }
  /** Loads engine and all models, then waits until all `count` workers are this far. */
  | {
      readonly type: 'load';
      readonly engine: EngineName;
      readonly arrived: SharedArrayBuffer;
      readonly count: number;
    }
  /** Times batches of a slot in a session of so many threads, made for this and disposed of. */
  | {
      readonly type: 'time';
      readonly engine: EngineName;
      readonly model: string;
      readonly slot: number;
      readonly counts: readonly number[];
      readonly sessionThreads: number;
    }
  | {
      readonly type: 'run';
      readonly engine: EngineName;
      readonly model: string;
      readonly slot: number;
      readonly count: number;
      /** Tiles the engine takes at once; the batch is run in pieces of this size. */
      readonly pieceSize: number;
      /** Goes before batches that wait in the worker. */
      readonly urgent: boolean;
      readonly fault?: Fault;
    };

export interface SelectResult {
  readonly type: 'selected';
  readonly engine: EngineName;
  readonly device: string;
  /** Of the engine: null = as many as there are. */
  readonly maxWorkers: number | null;
  readonly threaded: boolean;
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
export interface TimeResult {
  readonly type: 'timed';
  /** Of the counts, the best. */
  readonly msPerTile: number;
}
/** Errors cross as data: their class would be lost. */
export interface FailureResult {
  readonly type: 'failed';
  readonly reason: ErrorReason;
  readonly message: string;
  /** Of a run: after it the engine did not reproduce the golden scores either. */
  readonly engineLost: boolean;
}
export type WorkerResult = SelectResult | LoadResult | TimeResult | RunResult | FailureResult;

/** How an engine was lost: its thread died, it went on failing, or it never answered. */
export type LossKind = 'died' | 'failed' | 'hung';

/** The engine itself is gone, not only a batch. Crosses no wire: to a client it is ENGINE_FAILED. */
export class EngineLoss extends SaladError {
  constructor(
    readonly loss: LossKind,
    message: string,
    options?: ErrorOptions,
  ) {
    super('ENGINE_FAILED', message, options);
  }
}

/** An exception of the engine itself has no reason of ours: it is the engine that failed. */
export function failureFrom(error: unknown, engineLost = false): FailureResult {
  const message = error instanceof Error ? error.message : String(error);
  const reason = error instanceof SaladError ? error.reason : 'ENGINE_FAILED';
  return { type: 'failed', reason, message, engineLost };
}

export function errorFrom({ reason, message, engineLost }: FailureResult): SaladError {
  if (engineLost) return new EngineLoss('failed', message);
  return new SaladError(Object.hasOwn(ERROR_REASONS, reason) ? reason : 'INTERNAL', message);
}
