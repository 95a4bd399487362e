/** Computes the memory that an acquisition may need, from its header. */
import { mapShapeOf } from '../imaging/map/anomaly-map.js';
import { workingImageBytes } from '../imaging/working-image/working-image-bytes.js';
import type { AcquisitionRequest, ServedModel } from './types.js';

/** Score, robust z and whether it is background. */
const PATCH_BYTES = 4 + 4 + 1;
/** While an anomaly map is drawn: values in float32, mask of the coloured pixels, grey image, RGB image, and its PNG. */
const MAP_BYTES_PER_PIXEL = 4 + 1 + 1 + 2 * 3;
/** For each tile: its index in the queue, and whether it was received. */
const TILE_BYTES = 16;
const BOOKKEEPING_BYTES = 8192;

/** Most bytes of an open acquisition: working image, results, anomaly map. Excludes messages, see `answerBytes`. */
export function acquisitionBytes(
  { geometry, manifest }: Pick<ServedModel, 'geometry' | 'manifest'>,
  { format, source, options }: Pick<AcquisitionRequest, 'format' | 'source' | 'options'>,
): number {
  const image = workingImageBytes(geometry, manifest.input, format, source);
  const embedding = options.embeddings ? 4 * manifest.bank.dimension : 0;
  const patch = PATCH_BYTES + embedding + 8 * options.nearestPrototypes;
  const shape = mapShapeOf(format.rows, format.columns);
  const map = options.anomalyMap === 'none' ? 0 : shape.rows * shape.columns * MAP_BYTES_PER_PIXEL;
  const tiles = geometry.tileCount * TILE_BYTES;
  return image + geometry.patchGrid ** 2 * patch + map + tiles + BOOKKEEPING_BYTES;
}
