/**
 * The golden batch of a bundle: tiles and the scores an engine must reproduce before it may serve. The tiles are cut
 * from phantoms, so that no patient's pixels travel with a bundle.
 */

import type { GoldenBatch } from '../../bundle/check.js';
import { allocatePatchBatch } from '../../engines/batch.js';
import type { Engine, EngineModelSource } from '../../engines/engine.js';
import { SaladError } from '../../errors/index.js';
import type { Geometry } from '../../geometry/geometry.js';
import { defaultPixelFormat } from '../../imaging/pixel-format.js';
import { WorkingImage } from '../../imaging/working-image.js';
import { makePhantom } from '../../phantom/phantom.js';
import type { TrainingPlan } from '../encoders/preset.js';

/** At most this many bytes of pixels: a bundle stays small. */
const MAX_PIXEL_BYTES = 262_144;
const MAX_TILES = 12;

/** Half of them with a lesion: scores of both kinds. */
const PHANTOMS = 6;

function phantomImages({ input, tiling }: TrainingPlan, geometry: Geometry): readonly WorkingImage[] {
  return Array.from({ length: PHANTOMS }, (_, seed) => {
    const lesion = seed % 2 === 0 ? 'none' : 'consolidation';
    const { rows, columns, samples, window } = makePhantom({ seed, lesion, size: input.workingSize });
    const format = {
      ...defaultPixelFormat(rows, columns, 16, 12),
      voi: { kind: 'window', function: 'linear', ...window } as const,
    };
    const image = new WorkingImage(geometry, input, format, tiling.minStd, 'rows');
    image.pushRows(new Uint8Array(samples.buffer, samples.byteOffset, samples.byteLength));
    image.complete();
    return image;
  });
}

/** Corners, an edge and the centre, of different images, where they are not background. */
function goldenTiles(
  images: readonly WorkingImage[],
  geometry: Geometry,
  count: number,
): { readonly image: WorkingImage; readonly row: number; readonly column: number }[] {
  const places = (count: number) => ({ first: 0, middle: Math.floor(count / 2), last: count - 1 });
  const row = places(geometry.tileRows);
  const column = places(geometry.tileColumns);
  const wanted = [
    [row.middle, column.middle],
    [row.first, column.first],
    [row.last, column.last],
    [row.first, column.middle],
    [row.middle, column.last],
    [row.last, column.first],
  ] as const;
  const tiles = new Map<string, { image: WorkingImage; row: number; column: number }>();
  for (let index = 0; index < images.length * wanted.length && tiles.size < count; index += 1) {
    const [row, column] = wanted[index % wanted.length]!;
    // Walks images and places out of step, so that every place is tried on every image.
    const which = (index + Math.floor(index / wanted.length)) % images.length;
    const image = images[which]!;
    if (!image.isBackground(row, column)) tiles.set(`${which}:${row}:${column}`, { image, row, column });
  }
  return [...tiles.values()];
}

/** @throws SaladError TRAINING_DATA_INVALID where every tile is background. */
export async function goldenBatch(
  engine: Engine,
  source: EngineModelSource,
  plan: TrainingPlan,
): Promise<GoldenBatch> {
  const { geometry } = source;
  const bytes = geometry.tilePixels;
  const limit = Math.max(2, Math.min(MAX_TILES, Math.floor(MAX_PIXEL_BYTES / bytes)));
  const tiles = goldenTiles(phantomImages(plan, geometry), geometry, limit);
  if (tiles.length === 0)
    throw new SaladError('TRAINING_DATA_INVALID', 'every tile of a phantom is background to this model');
  const pixels = new Uint8Array(tiles.length * bytes);
  const positions = new Int32Array(tiles.length * 2);
  tiles.forEach(({ image, row, column }, index) => {
    image.cutTile(row, column, pixels.subarray(index * bytes, (index + 1) * bytes));
    positions.set([row, column], 2 * index);
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
