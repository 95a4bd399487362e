/** Main thread. A batch slot, with a view for each model. */
import { SaladError } from '../errors/index.js';
import type { WorkerModel } from './messages.js';
import { type SlotView, viewSlot } from './slots.js';

export class ModelSlot<Owner> {
  /** By model key; made when a model's first batch uses the slot, because models come and go. */
  private readonly views = new Map<string, SlotView>();

  constructor(
    readonly owner: Owner,
    readonly index: number,
    /** Reserved for urgent tiles. */
    readonly isUrgent: boolean,
    private readonly buffer: SharedArrayBuffer,
    private readonly models: ReadonlyMap<string, WorkerModel>,
  ) {}

  /** The slot with the layout of this model's batches. */
  view(key: string): SlotView {
    let view = this.views.get(key);
    if (view === undefined) {
      const model = this.models.get(key);
      if (model === undefined) throw new SaladError('INTERNAL', `the pool has no model ${key}`);
      view = viewSlot(model.slots?.[this.index] ?? this.buffer, model.shape, model.capacity);
      this.views.set(key, view);
    }
    return view;
  }

  forget(key: string): void {
    this.views.delete(key);
  }
}
