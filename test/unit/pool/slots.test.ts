import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { slotBytes, viewSlot } from '../../../src/pool/slots.js';

describe('slots', () => {
  it('lays sections side by side, aligned and without overlap, the same from both sides', () => {
    const shape = { tileSize: 7, patchCount: 3, dimension: 5, neighbourCount: 2 };
    const buffer = new SharedArrayBuffer(slotBytes(shape, 3));
    const one = viewSlot(buffer, shape, 3);
    const other = viewSlot(buffer, shape, 3);
    const sections = (view: typeof one) => [view.pixels, view.positions, ...Object.values(view.patches)];
    sections(one).forEach((section, index) => {
      section.fill(index + 1);
    });
    sections(other).forEach((section, index) => {
      assert.equal(section.byteOffset % 64, 0);
      assert.ok(section.every((value: number) => value === index + 1));
    });
    assert.deepEqual(
      sections(one).map(({ length }) => length),
      [147, 6, 9, 18, 18, 45],
    );
  });
});
