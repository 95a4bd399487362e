import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { regionAround } from '../../../src/scoring/region.js';

describe('the region around a patch', () => {
  const Z = [
    [9, 1, 1, 9],
    [1, 4, 8, 1],
    [1, 1, 5, 1],
    [9, 1, 1, 3],
  ].flat();

  it('contains the connected cells with at least half of its z', () => {
    assert.deepEqual(regionAround(Z, 4, 6), { top: 1, bottom: 2, left: 1, right: 2 });
    assert.deepEqual(regionAround(Z, 4, 0), { top: 0, bottom: 0, left: 0, right: 0 });
  });

  it('does not connect the end of a row with the start of the next', () => {
    const z = Z.map((value, cell) => (cell === 3 || cell === 4 ? 9 : value));
    assert.deepEqual(regionAround(z, 4, 3), { top: 0, bottom: 0, left: 3, right: 3 });
  });

  it('is the cell alone where its z is not positive, and leaves out cells without a score', () => {
    assert.deepEqual(
      regionAround(
        Z.map((value) => -value),
        4,
        1,
      ),
      { top: 0, bottom: 0, left: 1, right: 1 },
    );
    const holes = Z.map((value, cell) => (cell === 10 ? Number.NaN : value));
    assert.deepEqual(regionAround(holes, 4, 6), { top: 1, bottom: 1, left: 1, right: 2 });
  });
});
