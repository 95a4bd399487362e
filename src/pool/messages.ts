/**
 * Both threads. The messages between the main thread (src/pool) and a worker thread (workers/): small tasks and
 * results. Bundles, pixels and scores are in shared memory.
 */

import type { Bundle } from '../bundle/bundle.js';
import type { EngineName, EngineOptions, Precision, SearchOptions } from '../engines/engine.js';
import { SaladError } from '../errors/index.js';
import { type ErrorData, fromErrorData, toErrorData } from '../errors/transfer.js';
import type { SlotShape } from './slots.js';

/** A model in a worker: its bundle and the layout of its batches in a slot. */
export interface WorkerModel {
  /** `name@version`. */
  readonly key: string;
  /**
   * Its arrays are in shared memory: a worker scores with the bytes that the server hashed, also if the files change.
   */
  readonly bundle: Bundle;
  /** The requested precision; the one the engine uses is in `ModelFacts`. */
  readonly precision: Precision;
  readonly shape: SlotShape;
  /** Tiles a slot holds for this model. */
  readonly capacity: number;
  /** Slots of its own, by the same numbers, for a model that was added later and does not fit into those of the setup. */
  readonly slots?: readonly SharedArrayBuffer[];
}

/**
 * The data each worker gets at its start; a worker that replaces one that crashed gets the same. Both sides change
 * `models` as models are added and removed: what is not listed is not kept in memory.
 */
export interface WorkerSetup {
  readonly models: WorkerModel[];
  readonly slots: readonly SharedArrayBuffer[];
  readonly search: SearchOptions;
  readonly engineOptions: EngineOptions;
  /** Whether other threads go first, where the system allows that for one thread. @default false */
  readonly isBackground?: boolean;
}

export type WorkerTask =
  /** Starts and checks these engines in order; see SelectResult. */
  | {
      readonly type: 'select';
      readonly engines: readonly EngineName[];
      readonly preference: EngineName | 'auto';
      /** Whether an engine must serve every model to be chosen. */
      readonly requireAll: boolean;
    }
  /** Loads the engine and its models. */
  | {
      readonly type: 'load';
      readonly engine: EngineName;
      /** Keys. */
      readonly models: readonly string[];
    }
  /** Adds a model: loads it, runs its golden check, and a batch of `pieceSize` tiles. A model that fails is not kept. */
  | {
      readonly type: 'add';
      readonly engine: EngineName;
      readonly model: WorkerModel;
      readonly pieceSize: number;
    }
  /** Unloads a model. Tasks of the model that came earlier are done by then. */
  | { readonly type: 'remove'; readonly model: string }
  /** Scores the first `count` tiles of a slot in place. */
  | {
      readonly type: 'run';
      readonly engine: EngineName;
      readonly model: string;
      readonly slot: number;
      readonly count: number;
      /** Tiles of one engine call; the batch is run in pieces of this size. */
      readonly pieceSize: number;
      /** Runs before other batches that wait in the worker. */
      readonly urgent: boolean;
    };

/** Facts about a loaded model. */
export interface ModelFacts {
  /** How its bank is searched, human-readable. */
  readonly search: string;
  /** The precision it runs in, which may differ from the requested one. */
  readonly precision: Precision;
}

/**
 * The first engine that reproduces the golden scores of every model. Where there is none: the engine that does so for
 * the most models, with the reasons why it cannot serve the others.
 */
export interface SelectResult {
  readonly type: 'selected';
  readonly engine: EngineName;
  readonly device: string;
  /** See EngineInfo. */
  readonly maxWorkers: number | null;
  /** See EngineInfo. */
  readonly canUseSessionThreads: boolean;
  /** The models it serves, by key. */
  readonly models: Readonly<Record<string, ModelFacts>>;
  /** Why it does not serve the other models, by key. */
  readonly refused: Readonly<Record<string, ErrorData>>;
}
export interface LoadResult {
  readonly type: 'loaded';
}
export interface AddResult extends ModelFacts {
  readonly type: 'added';
  /** Time of a batch of `pieceSize` tiles. */
  readonly batchMs: number;
}
export interface RemoveResult {
  readonly type: 'removed';
}
export interface RunResult {
  readonly type: 'ran';
  readonly computeMs: number;
}
export interface FailureResult {
  readonly type: 'failed';
  readonly error: ErrorData;
  /** True where the engine fails its golden check, too, after the failed run. */
  readonly isEngineLost: boolean;
}
export type WorkerResult = SelectResult | LoadResult | AddResult | RemoveResult | RunResult | FailureResult;

/** How an engine was lost: its thread died, it failed its golden check after a failed run, or it did not answer. */
export type LossKind = 'died' | 'failed' | 'hung';

/** The engine is lost, not only a batch. A client sees ENGINE_FAILED. */
export class EngineLoss extends SaladError {
  constructor(
    readonly loss: LossKind,
    message: string,
    options?: ErrorOptions,
  ) {
    super('ENGINE_FAILED', message, options);
  }
}

/** Worker thread: builds the result of a failed task. */
export function failureFrom(thrown: unknown, isEngineLost = false): FailureResult {
  return { type: 'failed', error: toErrorData(asSaladError(thrown)), isEngineLost };
}

/** An exception without a reason comes from the engine's library: ENGINE_FAILED. */
function asSaladError(thrown: unknown): SaladError {
  if (thrown instanceof SaladError) return thrown;
  const message = thrown instanceof Error ? thrown.message : String(thrown);
  return new SaladError('ENGINE_FAILED', message, { cause: thrown });
}

/** Main thread: restores the error of a failed task. */
export function errorFrom({ error, isEngineLost }: FailureResult): SaladError {
  const restored = SaladError.from(fromErrorData(error));
  return isEngineLost ? new EngineLoss('failed', restored.message, { cause: restored }) : restored;
}
