/** The golden batch of a bundle: real tiles and the scores an engine must reproduce before it may serve. */

import { allocatePatchBatch } from '../engines/batch.js';
import type { Engine, EngineModelSource } from '../engines/engine.js';
import { SaladError } from '../errors/index.js';
import type { WorkingImage } from '../imaging/working-image.js';
import type { GoldenBatch } from '../model/bundle-check.js';

/** At most this many bytes of pixels: a bundle stays small. */
const MAX_PIXEL_BYTES = 262_144;
const MAX_TILES = 12;

/** Corners, an edge and the centre, of different images, where they are not background. */
function goldenTiles(
  images: readonly WorkingImage[],
  tilesPerSide: number,
  count: number,
): { readonly image: WorkingImage; readonly row: number; readonly column: number }[] {
  const last = tilesPerSide - 1;
  const middle = Math.floor(tilesPerSide / 2);
  const wanted = [
    [middle, middle],
    [0, 0],
    [last, last],
    [0, middle],
    [middle, last],
    [last, 0],
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
  images: readonly WorkingImage[],
): Promise<GoldenBatch> {
  const { tileSize, tilesPerSide } = source.geometry;
  const bytes = tileSize * tileSize;
  const limit = Math.max(2, Math.min(MAX_TILES, Math.floor(MAX_PIXEL_BYTES / bytes)));
  const tiles = goldenTiles(images, tilesPerSide, limit);
  if (tiles.length === 0) throw new SaladError('TRAINING_DATA_INVALID', 'every held-out tile is background');
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
