import assert from 'node:assert/strict';
import { join } from 'node:path';
import { before, describe, it } from 'mocha';
import { acquisitionBytes } from '../../../src/acquisition/footprint.js';
import { anomalyMapOf } from '../../../src/acquisition/map.js';
import type { PatchResults } from '../../../src/acquisition/patch-results.js';
import type { AcquisitionRequest, AnomalyMap, ServedModel } from '../../../src/acquisition/types.js';
import { type Bundle, readBundle } from '../../../src/bundle/bundle.js';
import { defaultPixelFormat } from '../../../src/imaging/pixel-format/pixel-format.js';
import type { WorkingImage } from '../../../src/imaging/working-image/working-image.js';
import { conformalPValue } from '../../../src/scoring/calibration.js';
import { renderSamples } from '../../../src/training/data/render.js';
import { createRandom } from '../../../src/util/random.js';
import { root } from '../../support/root.js';

const [ROWS, COLUMNS] = [1000, 800];
const THRESHOLD = 2;

describe('the anomaly map of an acquisition', () => {
  const format = defaultPixelFormat(ROWS, COLUMNS, 8);
  let bundle: Bundle;
  let image: WorkingImage;
  let robustZ: Float32Array;

  before(async () => {
    bundle = await readBundle(join(root, 'models/chest-pediatric/1'));
    const random = createRandom(3);
    const samples = Uint8Array.from({ length: ROWS * COLUMNS }, () => 256 * random());
    image = renderSamples(samples, format, bundle.manifest);
    robustZ = Float32Array.from({ length: bundle.geometry.patchGrid ** 2 }, () => 1 + 5 * random());
  });

  const draw = async (anomalyMap: 'float32' | 'pngOverlay' | 'none'): Promise<AnomalyMap | undefined> =>
    anomalyMapOf(
      bundle as unknown as ServedModel,
      { format, options: { anomalyMap } } as AcquisitionRequest,
      { image, results: { robustZ } as PatchResults },
      THRESHOLD,
    );

  it('is undefined where none is requested', async () => {
    assert.equal(await draw('none'), undefined);
  });

  it('gives each colour of its scale the share of calibration patches that reach it', async () => {
    const { scale } = (await draw('float32'))!;
    assert.equal(scale[0]!.robustZ, THRESHOLD);
    for (const { robustZ: z, pValue } of scale) {
      assert.equal(pValue, conformalPValue(bundle.manifest.calibration.patchZQuantiles, z));
    }
  });

  for (const anomalyMap of ['float32', 'pngOverlay'] as const) {
    it(`allocates no more than the acquisition reserves for it: ${anomalyMap}`, async () => {
      const bytes = (kind: 'none' | typeof anomalyMap): number =>
        acquisitionBytes(bundle, {
          format,
          source: 'rows',
          options: { anomalyMap: kind, embeddings: false, nearestPrototypes: 0 } as never,
        });
      await draw(anomalyMap);
      const before = process.memoryUsage().arrayBuffers;
      const { rows, columns } = (await draw(anomalyMap))!;
      const allocated = process.memoryUsage().arrayBuffers - before;
      assert.deepEqual([rows, columns], [512, 410]);
      const reserved = bytes(anomalyMap) - bytes('none');
      // Resampler, edges of the contour: small beside the map, within what is reserved for bookkeeping and resampling.
      assert.ok(allocated <= reserved + 64 * 1024, `${allocated} bytes allocated, ${reserved} reserved`);
    });
  }
});
