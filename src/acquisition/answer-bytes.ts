/** How much memory the answers of an acquisition may take, known from its header alone. */
import { mapShapeOf } from '../imaging/anomaly-map.js';
import type { AcquisitionRequest, ServedModel } from './types.js';

/** Patches in one event at most: keeps messages small where embeddings ride along. */
export const PATCHES_PER_EVENT = 1024;

/** One being made, and two on their way to the client: see `ResponseWriter`. */
const ANSWERS = 3;
/** A patch's result as an object, and encoded. */
const PATCH_BYTES = 160;
/** A number of an embedding as an object's, and encoded. */
const NUMBER_BYTES = 8 + 4;
/** A nearest prototype as an object, and encoded with the id of its image. */
const NEAREST_BYTES = 160;
/** A float32 map as the acquisition has it, in its message, and in the frame of that. */
const MAP_BYTES_PER_PIXEL = 3 * 4;

/** Most bytes of answers that are made and not read yet. */
export function answerBytes(
  { geometry, manifest }: Pick<ServedModel, 'geometry' | 'manifest'>,
  { format, options }: Pick<AcquisitionRequest, 'format' | 'options'>,
): number {
  const { patchScores, embeddings, nearestPrototypes, anomalyMap } = options;
  const { rows, columns } = mapShapeOf(format.rows, format.columns);
  const embedding = embeddings ? manifest.bank.dimension * NUMBER_BYTES : 0;
  const patch = PATCH_BYTES + embedding + nearestPrototypes * NEAREST_BYTES;
  const patches = patchScores ? Math.min(PATCHES_PER_EVENT, geometry.patchGrid ** 2) : 0;
  const map = anomalyMap === 'none' ? 0 : rows * columns * MAP_BYTES_PER_PIXEL;
  return ANSWERS * patches * patch + map;
}
