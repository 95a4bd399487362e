import assert from 'node:assert/strict';
import fc from 'fast-check';
import { describe, it } from 'mocha';
import {
  displayTableOf,
  percentilesOfCounts,
  SampleCounts,
} from '../../../../src/imaging/contrast/byte-table.js';
import { percentilesOf } from '../../../../src/imaging/contrast/percentile.js';
import {
  createDisplayTransform,
  defaultPixelFormat,
} from '../../../../src/imaging/pixel-format/pixel-format.js';

describe('displayTableOf', () => {
  it('contains the result of the display transform for every sample', () => {
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
          assert.deepEqual(displayTableOf(transform), display);
        },
      ),
    );
  });
});

describe('percentilesOfCounts', () => {
  const percentiles = [0, 1, 37.5, 50, 99, 100];

  it('returns the percentiles of the single values, for any table', () => {
    fc.assert(
      fc.property(
        fc.uint8Array({ minLength: 1, maxLength: 300 }),
        fc.array(fc.float({ min: 0, max: 255, noNaN: true }), { minLength: 256, maxLength: 256 }),
        (samples, table) => {
          const display = Float32Array.from(table);
          const counts = new SampleCounts();
          const half = samples.length >> 1;
          counts.add(samples, 0, half);
          counts.add(samples, half, samples.length - half);
          const values = Float32Array.from(samples, (sample) => display[sample]!);
          assert.deepEqual(
            percentilesOfCounts(counts.total(), display, percentiles),
            percentilesOf(values, percentiles),
          );
        },
      ),
    );
  });

  it('is NaN where nothing was counted', () => {
    assert.ok(percentilesOfCounts(new Uint32Array(256), new Float32Array(256), [50]).every(Number.isNaN));
  });
});
