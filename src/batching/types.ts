/** Interfaces of the batcher: an executor runs batches, tile handlers write and read the slots. */
import type { EngineRun } from '../engines/engine.js';
import type { SaladError } from '../errors/index.js';
import type { TileIndex } from '../geometry/tile-index.js';
import type { PriorityClass } from './policy.js';

/** Runs batches. Implemented by the worker pool. */
export interface BatchExecutor<Slot> {
  /** Number of free slots for any batch. */
  readonly freeSlots: number;
  /** Number of additional free slots that only urgent batches may use. */
  readonly freeUrgentSlots: number;
  /**
   * Reserves a slot until `release`. A slot for urgent batches is used only if no other slot is free.
   * @returns undefined if no slot is free
   */
  acquire(urgent: boolean): Slot | undefined;
  release(slot: Slot): void;
  /** Largest number of tiles in a batch of this model, at least 1. */
  maxBatchSize(model: string): number;
  /**
   * Scores the first `count` tiles of the slot in place. An urgent batch runs before batches that wait in a worker.
   * @throws SaladError such as ENGINE_FAILED: the tiles may be scored again in another slot
   */
  run(model: string, slot: Slot, count: number, urgent: boolean): Promise<EngineRun>;
  /** Whether `run` failed because an engine was lost, which other tiles in flight may have caused. */
  isLoss(error: SaladError): boolean;
  /** Calls the listener when slots become free for another reason than `release`. */
  onChange(listener: () => void): void;
}

/** Why a batch was dispatched: it was full, a slot was free and no other tile waited, or it was a retry. */
export type ReleaseReason = 'full' | 'slot' | 'retry';

/** Describes a scored batch. Times are in ms of the batcher's clock. */
export interface BatchReport extends EngineRun {
  readonly model: string;
  readonly tiles: number;
  /** Largest number of tiles in a batch of this model. */
  readonly maxTiles: number;
  readonly releaseReason: ReleaseReason;
  readonly dispatchedAt: number;
  readonly finishedAt: number;
  /** When the first tile of each stream of the batch was queued, by the tag of the stream. Omits streams without a tag. */
  readonly queuedSinceByTag: ReadonlyMap<object, number>;
}

/** Callbacks of a stream for its tiles. They are synchronous and must not throw for valid input. */
export interface TileHandler<Slot> {
  /** Writes the pixels and the position of the tile at index `index` of the slot. */
  fill(tile: TileIndex, slot: Slot, index: number): void;
  /**
   * Reads the results of the tile at index `index` of the slot. The slot is reused after the call.
   * @param queueMs time from queued to dispatched
   */
  deliver(tile: TileIndex, slot: Slot, index: number, batch: BatchReport, queueMs: number): void;
  /** Reports that no engine could score the tile, even in a batch of its own. */
  fail(tile: TileIndex, error: SaladError): void;
  /** Reports that the deadline has passed. No callback follows. */
  expire(): void;
}

export interface TileStreamOptions<Slot> {
  readonly model: string;
  readonly priority: PriorityClass;
  /** In ms of the batcher's clock; Infinity without a deadline. */
  readonly deadline: number;
  /** Largest number of tiles that the stream has queued at a time. */
  readonly capacity: number;
  /** Peer that the stream belongs to; peers are served in turn. @default one peer for all streams */
  readonly peer?: string;
  readonly handler: TileHandler<Slot>;
  /** Identifies the stream in the reports of its batches. */
  readonly tag?: object | undefined;
}

/** A stream of tiles that is open in the batcher. */
export interface TileStream {
  /** Queues tiles whose pixels are complete. */
  enqueue(tiles: readonly TileIndex[]): void;
  /** Drops queued tiles and the results of tiles in flight. Idempotent. */
  close(): void;
}
