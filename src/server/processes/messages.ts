/** What the first process and the server processes say to each other. */
import type { ServeConfig } from '../../config/schema.js';
import type { ErrorData } from '../../errors/transfer.js';
import type { ServingState } from '../health.js';

/** A change of the models. @property version default of `load`: the highest; of `unload`: every version */
export interface ModelChange {
  readonly do: 'load' | 'unload';
  readonly name: string;
  readonly version?: number | undefined;
}

/** What a change has done in one process. */
export interface ChangedModels {
  readonly versions: readonly { readonly name: string; readonly version: number }[];
  /** Whether the process served them already, before `load`. */
  readonly servedBefore: boolean;
}

/** How a process starts. */
export interface ProcessStart {
  readonly type: 'start';
  /** From 0. */
  readonly index: number;
  /** With this process's part of what is divided. */
  readonly config: ServeConfig;
  /** Cores for its engine. */
  readonly cores: number;
  /** File of the engine worker threads. */
  readonly workerEntry?: string | undefined;
  /** Says whether telemetry is exported. */
  readonly environment: Readonly<Record<string, string | undefined>>;
  /** Whether the first process asks for metrics. */
  readonly hasMetrics: boolean;
}

/** To a server process. */
export type ToProcess =
  | ProcessStart
  /** With the socket of an accepted connection, from which nothing was read. */
  | { readonly type: 'connection'; readonly id: number }
  | { readonly type: 'state'; readonly ofAll: ServingState }
  | { readonly type: 'drain'; readonly graceMs: number }
  /** The calls of all processes have ended. */
  | { readonly type: 'close' };

/** What the first process requests; the answers: ChangedModels, CollectedMetrics. */
export type ProcessRequest = ModelChange | { readonly do: 'metrics' };

/** From a server process. */
export type FromProcess =
  | { readonly type: 'ready'; readonly engine: string; readonly models: readonly string[] }
  | { readonly type: 'failed'; readonly error: ErrorData }
  /** The process has the socket and reads from it. */
  | { readonly type: 'taken'; readonly id: number }
  /** A connection that it had taken is closed. */
  | { readonly type: 'closed' }
  | { readonly type: 'state'; readonly state: ServingState }
  /** Its calls have ended, in a drain. */
  | { readonly type: 'callsEnded' };
