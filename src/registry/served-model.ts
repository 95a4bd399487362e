/** What the pool and the acquisitions need of a bundle. */
import type { AcquisitionBudget, ServedModel, TileSlot } from '../acquisition/index.js';
import type { Batcher } from '../batching/index.js';
import type { Bundle } from '../bundle/bundle.js';
import { modelKey } from '../bundle/repository.js';
import type { Precision } from '../engines/engine.js';
import { alignsInTile } from '../geometry/geometry.js';
import { ALIGNMENT_NUMBERS } from '../imaging/alignment/alignment-map.js';
import type { EnginePool, PoolModel } from '../pool/engine-pool.js';

/** What the engine pool needs of a bundle. */
export function poolModelOf(bundle: Bundle, precision: Precision): PoolModel {
  const { manifest, geometry } = bundle;
  return {
    key: modelKey(manifest),
    bundle,
    precision,
    shape: {
      tilePixels: geometry.tilePixels,
      patchCount: geometry.patchesPerTile,
      dimension: manifest.bank.dimension,
      neighbourCount: manifest.scoring.neighbourCount,
      alignmentNumbers: alignsInTile(manifest, geometry) ? ALIGNMENT_NUMBERS : 0,
    },
  };
}

export function servedModel(
  bundle: Bundle,
  pool: EnginePool,
  batcher: Batcher<TileSlot>,
  budget: AcquisitionBudget,
): ServedModel {
  const { manifest, geometry, sha256, bank, plausibility } = bundle;
  return {
    key: modelKey(manifest),
    name: manifest.name,
    version: manifest.version,
    sha256,
    manifest,
    geometry,
    plausibility,
    prototypeSources: bank.sources,
    get engine() {
      return pool.engine;
    },
    get search() {
      return pool.modelStatus(modelKey(manifest))?.search ?? '';
    },
    batcher,
    budget,
  };
}

/** Whether batches of both take about as long, so that what was measured of one holds for the other. */
export function takesAsLong(a: ServedModel, { manifest, geometry }: Bundle): boolean {
  return (
    a.geometry.tilePixels === geometry.tilePixels &&
    a.manifest.bank.rows === manifest.bank.rows &&
    JSON.stringify(a.manifest.network) === JSON.stringify(manifest.network)
  );
}
