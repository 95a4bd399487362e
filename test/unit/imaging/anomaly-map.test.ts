import assert from 'node:assert/strict';
import fc from 'fast-check';
import { describe, it } from 'mocha';
import sharp from 'sharp';
import { type Geometry, geometryOf, patchStart } from '../../../src/geometry/geometry.js';
import { blendPatches, overlayPng } from '../../../src/imaging/anomaly-map.js';

function geometry(patchSize: number, patchOffset: number): Geometry {
  return geometryOf(
    { workingSize: 32, fit: 'stretch', intensity: { kind: 'window' }, orientation: 'head up' },
    { coreSize: 16, haloSize: 8, patchesPerSide: 2, patchStride: 8, patchSize, patchOffset, minStd: 0 },
  );
}

const layouts = fc.record({
  patchSize: fc.integer({ min: 1, max: 20 }),
  patchOffset: fc.integer({ min: -8, max: 8 }),
});
const scores = fc.array(fc.oneof(fc.constant(Number.NaN), fc.double({ min: -3, max: 9, noNaN: true })), {
  minLength: 16,
  maxLength: 16,
});

describe('blendPatches', () => {
  it('stays between the scores of the covering patches and is NaN exactly where none covers', () => {
    fc.assert(
      fc.property(layouts, scores, ({ patchSize, patchOffset }, z) => {
        const g = geometry(patchSize, patchOffset);
        const map = blendPatches(g, Float32Array.from(z));
        for (let y = 0; y < 32; y++) {
          for (let x = 0; x < 32; x++) {
            const covering = z.filter((value, i) => {
              const inside = (at: number, index: number): boolean =>
                at >= patchStart(g, index) && at < patchStart(g, index) + patchSize;
              return !Number.isNaN(value) && inside(y, Math.floor(i / 4)) && inside(x, i % 4);
            });
            const value = map[y * 32 + x]!;
            if (covering.length === 0) assert.ok(Number.isNaN(value));
            else assert.ok(value >= Math.min(...covering) - 1e-5 && value <= Math.max(...covering) + 1e-5);
          }
        }
      }),
      { seed: 8, numRuns: 60 },
    );
  });

  it('follows a single high patch: highest at its centre, falling to its neighbours', () => {
    const g = geometry(16, -4);
    const z = new Float32Array(16);
    z[1 * 4 + 2] = 8;
    const map = blendPatches(g, z);
    const center = (index: number): number => patchStart(g, index) + 8;
    const at = (y: number, x: number): number => map[y * 32 + x]!;
    const peak = at(center(1), center(2));
    assert.equal(peak, Math.max(...map));
    assert.ok(peak > 2 * at(center(1) + 6, center(2)));
    assert.equal(at(31, 0), 0);
  });

  it('reads an image-level model as one value everywhere', () => {
    const g = geometryOf(
      { workingSize: 16, fit: 'stretch', intensity: { kind: 'window' }, orientation: 'head up' },
      {
        coreSize: 16,
        haloSize: 0,
        patchesPerSide: 1,
        patchStride: 16,
        patchSize: 16,
        patchOffset: 0,
        minStd: 0,
      },
    );
    const map = blendPatches(g, Float32Array.of(2.5));
    assert.deepEqual(new Set(map), new Set([2.5]));
  });
});

describe('overlayPng', () => {
  async function rgbAt(z: number, grey: number, options = {}): Promise<number[]> {
    const png = await overlayPng(new Uint8Array(16).fill(grey), new Float32Array(16).fill(z), 4, options);
    const { data, info } = await sharp(png).raw().toBuffer({ resolveWithObject: true });
    assert.deepEqual([info.width, info.height, info.channels], [4, 4, 3]);
    return [...data.subarray(0, 3)];
  }

  it('leaves the image grey below the lower bound and where nothing was scored', async () => {
    for (const z of [-2, 0, 1.5, Number.NaN]) assert.deepEqual(await rgbAt(z, 90), [90, 90, 90]);
  });

  it('goes to the top of the colour map at the upper bound and stays there', async () => {
    // 0.65 * #fcffa4 + 0.35 * 100
    const top = [0.65 * 252 + 35, 0.65 * 255 + 35, 0.65 * 164 + 35].map(Math.round);
    assert.deepEqual(await rgbAt(6, 100), top);
    assert.deepEqual(await rgbAt(60, 100), top);
    assert.deepEqual(await rgbAt(Number.POSITIVE_INFINITY, 100), top);
  });

  it('grows further from grey with z, by the given bounds', async () => {
    const distance = async (z: number): Promise<number> => {
      const [r, , b] = await rgbAt(z, 40, { zLow: 2, zHigh: 10 });
      return Math.abs(r! - 40) + Math.abs(b! - 40);
    };
    const values = await Promise.all([2, 4, 6, 8].map(distance));
    assert.equal(values[0], 0);
    assert.ok(values[0]! < values[1]! && values[1]! < values[2]! && values[2]! < values[3]!);
  });
});
