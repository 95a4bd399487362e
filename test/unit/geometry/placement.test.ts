import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { placementOf } from '../../../src/geometry/placement.js';
import type { InputSpec } from '../../../src/geometry/specifications.js';

const input = (fit: InputSpec['fit']): InputSpec => ({
  ...{ workingSize: 100, fit, intensity: { kind: 'window' }, orientation: '' },
});

describe('placementOf', () => {
  it('pads by the size of the image in space, not by its number of pixels', () => {
    assert.deepEqual(placementOf(input('pad'), 50, 100), { top: 25, left: 0, rows: 50, columns: 100 });
    assert.deepEqual(placementOf(input('pad'), 50, 100, 2), { top: 0, left: 0, rows: 100, columns: 100 });
    assert.deepEqual(placementOf(input('pad'), 50, 100, 4), { top: 0, left: 25, rows: 100, columns: 50 });
  });

  it('stretches pixels of any aspect ratio', () => {
    const whole = { top: 0, left: 0, rows: 100, columns: 100 };
    assert.deepEqual(placementOf(input('stretch'), 50, 100, 4), whole);
  });
});
