/** The models of a pool, and how many tiles of each a slot holds. */

import type { Bundle } from '../bundle/bundle.js';
import type { Precision } from '../engines/engine.js';
import type { ModelFacts, WorkerModel } from './messages.js';
import { allocateSlots, type SlotShape, slotBytes } from './slots.js';
import { BATCH_SIZES, type BatchLatency, type BatchPlan } from './warm-up.js';

/** A model to serve, and the layout of its batches. */
export interface PoolModel {
  readonly key: string;
  readonly bundle: Bundle;
  readonly precision: Precision;
  readonly shape: SlotShape;
}

export interface PoolModelStatus extends BatchPlan, ModelFacts {
  /** Time of a batch by its size; size 1 only where `maxBatchSize` was set. */
  readonly curve: readonly BatchLatency[];
}

/** Upper bound of a slot, for every tile size. */
const SLOT_BYTES_MAX = 64 * 1024 * 1024;

/** @param maxBatchSize tiles; 0 = the largest size that warm-up tries */
export function withCapacity(model: PoolModel, maxBatchSize: number): WorkerModel {
  const requested = maxBatchSize > 0 ? maxBatchSize : BATCH_SIZES[BATCH_SIZES.length - 1]!;
  const fitting = Math.floor(SLOT_BYTES_MAX / slotBytes(model.shape, 1));
  return { ...model, capacity: Math.max(1, Math.min(requested, fitting)) };
}

/**
 * A model that is added to slots that exist: as many of its tiles as fit into them, or slots of its own where that is
 * less than a slot at the start would hold.
 * @param slots all of the same size
 */
export function fitIntoSlots(
  model: PoolModel,
  maxBatchSize: number,
  slots: readonly SharedArrayBuffer[],
): WorkerModel {
  const sized = withCapacity(model, maxBatchSize);
  const bytes = slotBytes(sized.shape, sized.capacity);
  const fits = slots.every(({ byteLength }) => byteLength >= bytes);
  return fits ? sized : { ...sized, slots: allocateSlots(slots.length, bytes) };
}
