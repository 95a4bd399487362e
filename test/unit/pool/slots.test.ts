import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { allocateSlots, pieceOf, slotBytes, viewSlot } from '../../../src/pool/slots.js';

describe('slots', () => {
  it('are ENGINE_UNAVAILABLE, with advice, where there is no memory for them', () => {
    assert.throws(() => allocateSlots(6, 2 ** 53), {
      reason: 'ENGINE_UNAVAILABLE',
      message: /no memory for 6 batch slots .*: fewer workers or a smaller maxBatchSize need less/,
    });
  });

  it('have aligned sections without overlap, the same in both threads', () => {
    const shape = { tilePixels: 49, patchCount: 3, dimension: 5, neighbourCount: 2, alignmentNumbers: 6 };
    const buffer = new SharedArrayBuffer(slotBytes(shape, 3));
    const one = viewSlot(buffer, shape, 3);
    const other = viewSlot(buffer, shape, 3);
    const sections = (view: typeof one) => [
      view.pixels,
      view.positions,
      ...Object.values(view.patches),
      view.alignments,
    ];
    sections(one).forEach((section, index) => {
      section.fill(index + 1);
    });
    sections(other).forEach((section, index) => {
      assert.equal(section.byteOffset % 64, 0);
      assert.ok(section.every((value: number) => value === index + 1));
    });
    assert.deepEqual(
      sections(one).map(({ length }) => length),
      [147, 6, 9, 18, 18, 45, 18],
    );
  });

  it('give pieces that are views of the same memory', () => {
    const shape = { tilePixels: 9, patchCount: 4, dimension: 5, neighbourCount: 2, alignmentNumbers: 6 };
    const whole = viewSlot(new SharedArrayBuffer(slotBytes(shape, 6)), shape, 6);
    const piece = pieceOf(whole, shape, 2, 5);
    const pairs = [
      [whole.pixels, piece.pixels, 9],
      [whole.positions, piece.positions, 2],
      [whole.patches.scores, piece.patches.scores, 4],
      [whole.patches.neighbourIndices, piece.patches.neighbourIndices, 8],
      [whole.patches.neighbourDistances, piece.patches.neighbourDistances, 8],
      [whole.patches.embeddings, piece.patches.embeddings, 20],
      [whole.alignments, piece.alignments, 6],
    ] as const;
    for (const [all, part, perTile] of pairs) {
      all.forEach((_, index) => {
        all[index] = index;
      });
      assert.equal(part.length, 3 * perTile);
      assert.equal(part[0], 2 * perTile);
    }
    assert.equal(piece.capacity, 3);
  });
});
