/** What crosses the thread boundary: small tasks and results; bundles, pixels and scores lie in shared memory. */

import type { Bundle } from '../bundle/bundle.js';
import type { EngineName, EngineOptions, Precision, SearchOptions } from '../engines/engine.js';
import { SaladError } from '../errors/index.js';
import { type ErrorData, fromErrorData, toErrorData } from '../errors/transfer.js';
import type { SlotShape } from './slots.js';

/** A model as workers know it: its bundle and how its batches lie in a slot. */
export interface WorkerModel {
  /** `name@version`. */
  readonly key: string;
  /** Its arrays are shared memory: a worker scores with what the server read and hashed, whatever is on disk now. */
  readonly bundle: Bundle;
  /** Asked for; `ModelFacts` says what it runs in. */
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

export type WorkerTask =
  /** Tries these engines in turn; see SelectResult. */
  | {
      readonly type: 'select';
      readonly engines: readonly EngineName[];
      readonly preference: EngineName | 'auto';
      /** An engine that cannot serve every model is not taken. */
      readonly requireAll: boolean;
    }
  /** Loads engine and models. */
  | {
      readonly type: 'load';
      readonly engine: EngineName;
      /** By key. */
      readonly models: readonly string[];
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
    };

/** What an engine says of a model it has loaded. */
export interface ModelFacts {
  /** How its bank is searched, human-readable. */
  readonly search: string;
  /** What it runs in, whatever was asked for. */
  readonly precision: Precision;
}

/**
 * The first engine that reproduces the golden scores of every model; where there is none, the one that does so for the
 * most, and the models it cannot serve.
 */
export interface SelectResult {
  readonly type: 'selected';
  readonly engine: EngineName;
  readonly device: string;
  /** Of the engine: null = as many as there are. */
  readonly maxWorkers: number | null;
  readonly threaded: boolean;
  /** The models it serves, by key. */
  readonly models: Readonly<Record<string, ModelFacts>>;
  /** Why it does not serve the others, by key. */
  readonly refused: Readonly<Record<string, ErrorData>>;
}
export interface LoadResult {
  readonly type: 'loaded';
}
export interface RunResult {
  readonly type: 'ran';
  readonly computeMs: number;
}
export interface FailureResult {
  readonly type: 'failed';
  readonly error: ErrorData;
  /** Of a run: after it the engine did not reproduce the golden scores either. */
  readonly engineLost: boolean;
}
export type WorkerResult = SelectResult | LoadResult | RunResult | FailureResult;

/** How an engine was lost: its thread died, it went on failing, or it never answered. */
export type LossKind = 'died' | 'failed' | 'hung';

/** The engine itself is gone, not only a batch. To a client it is ENGINE_FAILED. */
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
export function failureFrom(thrown: unknown, engineLost = false): FailureResult {
  return { type: 'failed', error: toErrorData(engineError(thrown)), engineLost };
}

function engineError(thrown: unknown): SaladError {
  if (thrown instanceof SaladError) return thrown;
  const message = thrown instanceof Error ? thrown.message : String(thrown);
  return new SaladError('ENGINE_FAILED', message, { cause: thrown });
}

export function errorFrom({ error, engineLost }: FailureResult): SaladError {
  const restored = SaladError.from(fromErrorData(error));
  return engineLost ? new EngineLoss('failed', restored.message, { cause: restored }) : restored;
}
