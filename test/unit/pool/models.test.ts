import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { fitIntoSlots, type PoolModel } from '../../../src/pool/models.js';
import { allocateSlots, slotBytes, viewSlot } from '../../../src/pool/slots.js';
import { planWithin } from '../../../src/pool/warm-up.js';

const shape = { tilePixels: 100, patchCount: 4, dimension: 8, neighbourCount: 3, alignmentNumbers: 0 };
const model = { key: 'm@1', precision: 'float32', shape } as PoolModel;

describe('a model that is added to slots that exist', () => {
  it('uses them where its batches fit', () => {
    const slots = allocateSlots(3, slotBytes(shape, 8));
    assert.deepEqual(fitIntoSlots(model, 8, slots), { ...model, capacity: 8 });
  });

  it('gets slots of its own, as many, where they do not', () => {
    const slots = allocateSlots(3, slotBytes(shape, 8) - 1);
    const added = fitIntoSlots(model, 8, slots);
    assert.deepEqual([added.capacity, added.slots?.length], [8, 3]);
    for (const slot of added.slots!) assert.equal(viewSlot(slot, shape, 8).pixels.length, 800);
  });

  it('runs batches of the measured size, but no larger than a slot', () => {
    assert.deepEqual(planWithin({ pieceSize: 4, maxBatchSize: 16 }, 8), { pieceSize: 4, maxBatchSize: 8 });
    assert.deepEqual(planWithin({ pieceSize: 4, maxBatchSize: 4 }, 2), { pieceSize: 2, maxBatchSize: 2 });
  });
});
