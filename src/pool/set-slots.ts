/** Main thread. The batch slots of a worker set: which of them are free, for every batch or for urgent ones only. */
import type { WorkerModel } from './messages.js';
import { ModelSlot } from './model-slot.js';
import { ALL_SLOTS_PER_WORKER, SLOTS_PER_WORKER } from './worker-threads.js';

export class SetSlots<Owner> {
  private readonly all: readonly ModelSlot<Owner>[];
  private readonly freeRoutine: ModelSlot<Owner>[] = [];
  private readonly freeReserved: ModelSlot<Owner>[] = [];

  /** @param buffers at least ALL_SLOTS_PER_WORKER for each worker; more are not used */
  constructor(
    owner: Owner,
    private readonly workerCount: number,
    buffers: readonly SharedArrayBuffer[],
    models: ReadonlyMap<string, WorkerModel>,
  ) {
    this.all = buffers.slice(0, workerCount * ALL_SLOTS_PER_WORKER).map((buffer, index) => {
      const isUrgent = index >= workerCount * SLOTS_PER_WORKER;
      return new ModelSlot(owner, index, isUrgent, buffer, models);
    });
    for (const slot of this.all) this.release(slot);
  }

  /** Free slots for every batch. */
  get free(): number {
    return this.freeRoutine.length;
  }

  /** Free slots beside these, for urgent batches only. */
  get freeUrgent(): number {
    return this.freeReserved.length;
  }

  acquire(urgent: boolean): ModelSlot<Owner> | undefined {
    return this.freeRoutine.pop() ?? (urgent ? this.freeReserved.pop() : undefined);
  }

  release(slot: ModelSlot<Owner>): void {
    (slot.isUrgent ? this.freeReserved : this.freeRoutine).push(slot);
  }

  /** Acquires one slot for each worker, or as many as are free. */
  acquireForAllWorkers(): readonly ModelSlot<Owner>[] {
    return this.freeRoutine.splice(0, this.workerCount);
  }

  /** Drops the views of a model that was removed. */
  forget(model: string): void {
    for (const slot of this.all) slot.forget(model);
  }
}
