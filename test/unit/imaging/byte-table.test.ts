import assert from 'node:assert/strict';
import fc from 'fast-check';
import { describe, it } from 'mocha';
import { byteTableOf, toByte } from '../../../src/imaging/byte-table.js';
import { createDisplayTransform, defaultPixelFormat } from '../../../src/imaging/pixel-format.js';

describe('byteTableOf', () => {
  it('holds for every sample what the display transform and rounding give one after the other', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 8 }),
        fc.boolean(),
        fc.boolean(),
        fc.double({ min: 0, max: 255, noNaN: true }),
        fc.double({ min: 1, max: 300, noNaN: true }),
        (bitsStored, isSigned, monochrome1, center, width) => {
          const transform = createDisplayTransform({
            ...defaultPixelFormat(1, 256, 8, bitsStored),
            isSigned,
            monochrome1,
            voi: { kind: 'window', center, width, function: 'linear' },
          });
          const samples = Uint8Array.from({ length: 256 }, (_, sample) => sample);
          const display = new Float32Array(256);
          transform(samples, display);
          assert.deepEqual(byteTableOf(transform), Uint8Array.from(display, toByte));
        },
      ),
    );
  });
});
