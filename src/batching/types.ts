/** What the batcher asks of those around it: an executor that runs batches, streams that fill and read slots. */
import type { EngineRun } from '../engines/engine.js';
import type { SaladError } from '../errors/index.js';
import type { PriorityClass } from './policy.js';

/** Runs batches; the worker pool is one. */
export interface BatchExecutor<Slot> {
  readonly freeSlots: number;
  /** Slots beside those, for urgent batches alone. */
  readonly freeUrgentSlots: number;
  /**
   * A slot of those for urgent batches only where no other is free. The caller owns it until `release`.
   * @returns undefined where none is free
   */
  acquire(urgent: boolean): Slot | undefined;
  release(slot: Slot): void;
  /** Most tiles in one batch of this model, at least 1. */
  maxBatchSize(model: string): number;
  /**
   * Scores the first `count` tiles of the slot in place; an urgent batch before what waits in a worker.
   * @throws SaladError ENGINE_FAILED and the like: the tiles may be tried again, in another slot.
   */
  run(model: string, slot: Slot, count: number, urgent: boolean): Promise<EngineRun>;
  /** Whether `run` failed because an engine was lost, which other tiles in flight may have caused. */
  isLoss(error: SaladError): boolean;
  /** Told whenever slots appear otherwise than by `release`. */
  onChange(listener: () => void): void;
}

/** Why a batch left when it did: it was full, a slot was free and nothing else waited, or it had failed before. */
export type Release = 'full' | 'slot' | 'retry';

/** A batch that was scored. Moments are milliseconds of the batcher's clock. */
export interface BatchReport extends EngineRun {
  readonly model: string;
  readonly tiles: number;
  /** Most tiles a batch of this model may have. */
  readonly maxTiles: number;
  readonly release: Release;
  readonly dispatchedAt: number;
  readonly finishedAt: number;
  /** When the first tile of each stream in the batch became ready, by the stream's tag; streams without one are left out. */
  readonly queuedSinceByTag: ReadonlyMap<object, number>;
}

/** What a stream does with its tiles. The callbacks are synchronous, and must not throw on good input. */
export interface TileHandler<Slot> {
  /** Writes the tile's pixels and position into place `index` of the slot. */
  fill(tile: number, slot: Slot, index: number): void;
  /**
   * Reads the tile's results out of place `index`; the slot is reused afterwards.
   * @param queueMs from ready to dispatched
   */
  deliver(tile: number, slot: Slot, index: number, batch: BatchReport, queueMs: number): void;
  /** No engine could score the tile, not even alone. */
  fail(tile: number, error: SaladError): void;
  /** The deadline passed; no callback follows. */
  expire(): void;
}

export interface TileStreamOptions<Slot> {
  readonly model: string;
  readonly priority: PriorityClass;
  /** Milliseconds of the batcher's clock; Infinity without one. */
  readonly deadline: number;
  /** Most tiles the stream will ever have queued at a time. */
  readonly capacity: number;
  /** Whose stream it is: peers take turns. @default one for all */
  readonly peer?: string;
  readonly handler: TileHandler<Slot>;
  /** Named in the reports of batches its tiles were in. */
  readonly tag?: object | undefined;
}

/** A stream's end of the batcher. */
export interface TileStream {
  /** Queues ready tiles. */
  enqueue(tiles: readonly number[]): void;
  /** Drops what waits; results of the batch in flight are dropped too. Idempotent. */
  close(): void;
}
