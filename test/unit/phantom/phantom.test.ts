import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { SaladError } from '../../../src/errors/index.js';
import { LESION_KINDS, makePhantom, PHANTOM_WINDOW, type Phantom } from '../../../src/phantom/phantom.js';

function mean(phantom: Phantom, test: (x: number, y: number) => boolean): number {
  let sum = 0;
  let count = 0;
  for (const [i, value] of phantom.samples.entries()) {
    if (!test((i % phantom.columns) / phantom.columns, Math.floor(i / phantom.columns) / phantom.rows))
      continue;
    sum += value;
    count++;
  }
  return sum / count;
}

describe('makePhantom', () => {
  it('returns identical values for the same seed and others for another seed', () => {
    for (const lesion of ['none', 'consolidation'] as const) {
      const first = makePhantom({ seed: 7, lesion, size: 128 });
      assert.deepEqual(makePhantom({ seed: 7, lesion, size: 128 }), first);
      assert.notDeepEqual(makePhantom({ seed: 8, lesion, size: 128 }).samples, first.samples);
    }
  });

  it('gives 12-bit values in the requested size, 512 by default', () => {
    assert.equal(makePhantom({ seed: 1 }).samples.length, 512 * 512);
    const phantom = makePhantom({ seed: 1, size: 96 });
    assert.deepEqual([phantom.rows, phantom.columns, phantom.lesion], [96, 96, null]);
    assert.ok(phantom.samples.every((value) => value <= 4095));
    assert.deepEqual(phantom.window, PHANTOM_WINDOW);
  });

  it('gives brighter values to denser tissue: air, lung, belly, spine', () => {
    for (let seed = 0; seed < 5; seed++) {
      const phantom = makePhantom({ seed, size: 128 });
      const air = mean(phantom, (x, y) => x < 0.04 && y > 0.8);
      const lung = mean(phantom, (x, y) => Math.abs(x - 0.28) < 0.04 && Math.abs(y - 0.5) < 0.06);
      const belly = mean(phantom, (x, y) => Math.abs(x - 0.35) < 0.04 && y > 0.88);
      const spine = mean(phantom, (x, y) => Math.abs(x - 0.5) < 0.02 && Math.abs(y - 0.5) < 0.2);
      const low = PHANTOM_WINDOW.center - PHANTOM_WINDOW.width / 2;
      const high = PHANTOM_WINDOW.center + PHANTOM_WINDOW.width / 2;
      assert.ok(air < low && low < lung, `seed ${seed}: air ${air}, lung ${lung}`);
      assert.ok(lung + 0.2 * PHANTOM_WINDOW.width < belly, `seed ${seed}: lung ${lung}, belly ${belly}`);
      assert.ok(belly < spine && spine < high, `seed ${seed}: belly ${belly}, spine ${spine}`);
    }
  });

  for (const kind of LESION_KINDS) {
    it(`adds a ${kind} to the patient of the same seed: most of it is brighter, and nothing else changes`, () => {
      for (let seed = 30; seed < 38; seed++) {
        const size = 192;
        const normal = makePhantom({ seed, size });
        const { samples, lesion } = makePhantom({ seed, size, lesion: kind });
        assert.ok(lesion);
        assert.equal(lesion.kind, kind);
        let inside = 0;
        let brighter = 0;
        let changedBelowMask = 0;
        for (const [i, value] of samples.entries()) {
          const difference = value - normal.samples[i]!;
          if (lesion.mask[i] === 1) {
            inside++;
            if (difference > 0) brighter++;
          } else if (Math.abs(difference) > 0.1 * PHANTOM_WINDOW.width) {
            changedBelowMask++;
          } else if (kind === 'nodule' && !isNear(lesion.mask, i, size)) {
            assert.equal(difference, 0, `seed ${seed}: pixel ${i} changed away from the lesion`);
          }
        }
        const share = inside / (size * size);
        assert.ok(share > 0.0005 && share < 0.15, `seed ${seed}: mask share ${share}`);
        assert.ok(brighter > 0.8 * inside, `seed ${seed}: ${brighter} of ${inside} brighter`);
        // Detector blur spreads a steep edge by one pixel; the changes of soft edges stay below a tenth of the window.
        assert.ok(changedBelowMask < 0.25 * inside, `seed ${seed}: ${changedBelowMask} changed outside`);
      }
    });

    it(`gives the smallest box around the mask of a ${kind}`, () => {
      const { lesion, columns } = makePhantom({ seed: 5, size: 160, lesion: kind });
      assert.ok(lesion);
      const at = [...lesion.mask.entries()].filter(([, value]) => value === 1).map(([i]) => i);
      const rows = at.map((i) => Math.floor(i / columns));
      const cols = at.map((i) => i % columns);
      assert.deepEqual(lesion.box, {
        top: Math.min(...rows),
        left: Math.min(...cols),
        bottom: Math.max(...rows) + 1,
        right: Math.max(...cols) + 1,
      });
    });
  }

  it('refuses invalid sizes and seeds', () => {
    for (const options of [
      { seed: 1, size: 63 },
      { seed: 1, size: 100.5 },
      { seed: 1, size: 5000 },
      { seed: Number.NaN },
      { seed: 0.5 },
    ]) {
      assert.throws(
        () => makePhantom(options),
        (error: unknown) => error instanceof SaladError && error.reason === 'CONFIGURATION_INVALID',
      );
    }
  });
});

/** Whether the mask is within one pixel, which is the reach of the detector's blur. */
function isNear(mask: Uint8Array, at: number, size: number): boolean {
  for (let dy = -1; dy <= 1; dy++) {
    for (let dx = -1; dx <= 1; dx++) if (mask[at + dy * size + dx] === 1) return true;
  }
  return false;
}
