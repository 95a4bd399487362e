/**
 * Makes the golden batch of a bundle: tiles and the scores that an engine must reproduce before it serves. The tiles
 * are cut from phantoms, so that a bundle contains no pixels of a patient.
 */
import type { GoldenBatch } from '../../bundle/check.js';
import { allocatePatchBatch } from '../../engines/batch.js';
import type { Engine, EngineModelSource } from '../../engines/engine.js';
import { SaladError } from '../../errors/index.js';
import type { Geometry } from '../../geometry/geometry.js';
import { type TileIndex, tileIndexAt } from '../../geometry/tile-index.js';
import { defaultPixelFormat } from '../../imaging/pixel-format/pixel-format.js';
import { writeTile } from '../../imaging/working-image/batch-tiles.js';
import type { WorkingImage } from '../../imaging/working-image/working-image.js';
import { makePhantom } from '../../phantom/phantom.js';
import { renderSamples } from '../data/render.js';
import type { TrainingPlan } from '../encoders/preset.js';

/** Most bytes of pixels, to keep bundles small. */
const PIXEL_BYTES_MAX = 262_144;
const TILES_MAX = 12;

/** Half of the phantoms have a lesion, so that low and high scores occur. */
const PHANTOMS = 6;

function phantomImages(plan: TrainingPlan): readonly WorkingImage[] {
  return Array.from({ length: PHANTOMS }, (_, seed) => {
    const lesion = seed % 2 === 0 ? 'none' : 'consolidation';
    const { rows, columns, samples, window } = makePhantom({ seed, lesion, size: plan.input.workingSize });
    const format = {
      ...defaultPixelFormat(rows, columns, 16, 12),
      voi: { kind: 'window', function: 'linear', ...window } as const,
    };
    const bytes = new Uint8Array(samples.buffer, samples.byteOffset, samples.byteLength);
    return renderSamples(bytes, format, plan);
  });
}

/** Chooses corners, edges and the centre of different images, where they are not background. */
function goldenTiles(
  images: readonly WorkingImage[],
  geometry: Geometry,
  count: number,
): { readonly image: WorkingImage; readonly tile: TileIndex }[] {
  const indicesOf = (length: number) => ({ first: 0, middle: Math.floor(length / 2), last: length - 1 });
  const row = indicesOf(geometry.tileRows);
  const column = indicesOf(geometry.tileColumns);
  const places = [
    [row.middle, column.middle],
    [row.first, column.first],
    [row.last, column.last],
    [row.first, column.middle],
    [row.middle, column.last],
    [row.last, column.first],
  ] as const;
  const tiles = new Map<string, { image: WorkingImage; tile: TileIndex }>();
  for (let step = 0; step < images.length * places.length && tiles.size < count; step += 1) {
    const [row, column] = places[step % places.length]!;
    // The image index advances by one more after each round of places, so that every place is tried on every image.
    const imageIndex = (step + Math.floor(step / places.length)) % images.length;
    const image = images[imageIndex]!;
    const tile = tileIndexAt(geometry, row, column);
    if (!image.isBackground(tile)) tiles.set(`${imageIndex}:${tile}`, { image, tile });
  }
  return [...tiles.values()];
}

/** @throws SaladError TRAINING_DATA_INVALID where every tile is background. */
export async function makeGoldenBatch(
  engine: Engine,
  source: EngineModelSource,
  plan: TrainingPlan,
): Promise<GoldenBatch> {
  const { geometry } = source;
  const { tilePixels } = geometry;
  const limit = Math.max(2, Math.min(TILES_MAX, Math.floor(PIXEL_BYTES_MAX / tilePixels)));
  const tiles = goldenTiles(phantomImages(plan), geometry, limit);
  if (tiles.length === 0) {
    throw new SaladError('TRAINING_DATA_INVALID', 'every tile of the phantoms is background for this model');
  }
  const pixels = new Uint8Array(tiles.length * tilePixels);
  const positions = new Int32Array(tiles.length * 2);
  tiles.forEach(({ image, tile }, index) => {
    writeTile({ pixels, positions }, index, image, tile);
  });
  const model = await engine.load(source);
  try {
    const patches = allocatePatchBatch(tiles.length, model);
    await model.run({ count: tiles.length, pixels, positions }, patches);
    return { pixels, positions, scores: patches.scores.slice(0, tiles.length * model.patchCount) };
  } finally {
    await model.dispose();
  }
}
