import assert from 'node:assert/strict';
import { join } from 'node:path';
import { before, describe, it } from 'mocha';
import { acquisitionBytes } from '../../../src/acquisition/footprint.js';
import type { AcquisitionOptions } from '../../../src/acquisition/types.js';
import { type Bundle, readBundle } from '../../../src/bundle/bundle.js';
import { defaultPixelFormat, type PixelFormat } from '../../../src/imaging/pixel-format/pixel-format.js';
import { workingImageBytes } from '../../../src/imaging/working-image/working-image-bytes.js';
import { root } from '../../support/root.js';

const OPTIONS: AcquisitionOptions = {
  patchScores: true,
  anomalyMap: 'none',
  embeddings: false,
  nearestPrototypes: 0,
  maxFalsePositiveRate: 0.05,
  earlyEnd: 'fail',
  topPatches: 5,
};
const KIB = 1024;

describe('acquisitionBytes', () => {
  let bundle: Bundle;
  before(async () => {
    bundle = await readBundle(join(root, 'models/chest-pediatric/1'));
  });

  const bytes = (format: PixelFormat, options: Partial<AcquisitionOptions> = {}) =>
    acquisitionBytes(bundle, { format, source: 'rows', options: { ...OPTIONS, ...options } });
  const small = defaultPixelFormat(224, 224, 8);

  it('counts weights and row buffers of the resampler for rows as for columns', () => {
    const base = bytes(small);
    // A weight of eight bytes for every source row and column, and for every row its share of a buffer of 224 values.
    assert.ok(bytes(defaultPixelFormat(224, 65_535, 8)) >= base + 8 * 65_000);
    assert.ok(bytes(defaultPixelFormat(65_535, 16, 8)) >= base + 8 * 65_000 + 4 * 65_000);
    for (const side of [1000, 10_000, 65_534]) {
      assert.ok(bytes(defaultPixelFormat(side, 224, 8)) > bytes(defaultPixelFormat(side / 2, 224, 8)));
    }
  });

  it('counts a look-up table, the table of all stored values, embeddings, neighbours and the map', () => {
    const deep = defaultPixelFormat(224, 224, 16);
    assert.ok(bytes(deep) >= bytes(small) + 4 * 65_000);
    const lut = { kind: 'lut', firstValue: 0, bitsPerEntry: 8, entries: new Uint16Array(65_536) } as const;
    assert.ok(bytes({ ...deep, voi: lut }) >= bytes(deep) + 10 * 65_536);
    assert.equal(bytes(small, { embeddings: true }) - bytes(small), 36 * 4 * bundle.manifest.bank.dimension);
    assert.equal(bytes(small, { nearestPrototypes: 5 }) - bytes(small), 36 * 5 * 8);
    // The map is as large as the source, up to a longer side of 512.
    assert.equal(bytes(small, { anomalyMap: 'float32' }) - bytes(small), 12 * 224 * 224);
    const large = defaultPixelFormat(3000, 2500, 8);
    assert.equal(bytes(large, { anomalyMap: 'pngOverlay' }) - bytes(large), 12 * 512 * 427);
  });

  it('reserves little memory for a small image', () => {
    assert.ok(bytes(small) < 800 * KIB, `${bytes(small)} bytes`);
    const { geometry, manifest } = bundle;
    const streamed = workingImageBytes(
      geometry,
      { ...manifest.input, intensity: { kind: 'window' } },
      small,
      'rows',
    );
    assert.equal(workingImageBytes(geometry, manifest.input, small, 'rows') - streamed, 8 * 224 * 224);
  });
});
