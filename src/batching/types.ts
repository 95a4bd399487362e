/** What the batcher asks of those around it: an executor that runs batches, streams that fill and read slots. */
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
  run(model: string, slot: Slot, count: number, urgent: boolean): Promise<BatchRun>;
  /** Told whenever slots appear otherwise than by `release`. */
  onChange(listener: () => void): void;
}

export interface BatchRun {
  readonly engine: string;
  /** Engine time in ms, without queueing and thread hops. */
  readonly computeMs: number;
}

/** How a tile was served. */
export interface TileTiming extends BatchRun {
  /** From ready to dispatched, in ms. */
  readonly queueMs: number;
  /** Tiles in its batch. */
  readonly batchSize: number;
  readonly maxBatchSize: number;
}

/** Why a batch left when it did: it was full, a slot was free and nothing else waited, or it had failed before. */
export type Release = 'full' | 'slot' | 'retry';

/** A batch that was scored. */
export interface BatchReport extends BatchRun {
  readonly model: string;
  readonly tiles: number;
  readonly release: Release;
  /** Milliseconds of the batcher's clock, as are all times here. */
  readonly dispatchedAt: number;
  readonly finishedAt: number;
  /** The tags of the streams whose tiles were in it, with the moment the first of these tiles became ready. */
  readonly riders: ReadonlyMap<object, number>;
}

/** What a stream does with its tiles. The callbacks are synchronous, and must not throw on good input. */
export interface TileHandler<Slot> {
  /** Writes the tile's pixels and position into place `index` of the slot. */
  fill(tile: number, slot: Slot, index: number): void;
  /** Reads the tile's results out of place `index`; the slot is reused afterwards. */
  deliver(tile: number, slot: Slot, index: number, timing: TileTiming): void;
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
