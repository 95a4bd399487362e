/** The models of a pool, and how much of one fits into a slot. */

import type { Bundle } from '../bundle/bundle.js';
import type { Precision } from '../engines/engine.js';
import type { ModelFacts, WorkerModel } from './messages.js';
import { type SlotShape, slotBytes } from './slots.js';
import { BATCH_SIZES, type BatchLatency, type BatchPlan } from './warm-up.js';

/** A model to serve, and how big its batches are. */
export interface PoolModel {
  readonly key: string;
  readonly bundle: Bundle;
  readonly precision: Precision;
  readonly shape: SlotShape;
}

export interface PoolModelStatus extends BatchPlan, ModelFacts {
  /** Batch sizes and times; of size 1 alone where the limit was given. */
  readonly curve: readonly BatchLatency[];
}

/** A slot never grows past this, whatever the tile size. */
const SLOT_BYTES_MAX = 64 * 1024 * 1024;

/** @param maxBatchSize tiles; 0 = as many as warm-up may want */
export function withCapacity(model: PoolModel, maxBatchSize: number): WorkerModel {
  const wanted = maxBatchSize > 0 ? maxBatchSize : BATCH_SIZES[BATCH_SIZES.length - 1]!;
  const fitting = Math.floor(SLOT_BYTES_MAX / slotBytes(model.shape, 1));
  return { ...model, capacity: Math.max(1, Math.min(wanted, fitting)) };
}
