/** Computes the memory that the answers of an acquisition may need, from its header. */
import { mapShapeOf } from '../imaging/anomaly-map.js';
import type { AcquisitionRequest, ServedModel } from './types.js';

/** Most patches in one event: keeps messages with embeddings small. */
export const PATCHES_PER_EVENT = 1024;

/** One answer is being built, and two are being sent: see `ResponseWriter`. */
const ANSWERS = 3;
/** A patch's result, as an object and encoded. */
const PATCH_BYTES = 160;
/** A number of an embedding, in an object and encoded. */
const NUMBER_BYTES = 8 + 4;
/** A nearest prototype, as an object and encoded with the id of its image. */
const NEAREST_BYTES = 160;
/** A float32 map exists three times: in the acquisition, in its message, and in the HTTP/2 frames of the message. */
const MAP_BYTES_PER_PIXEL = 3 * 4;

/** Most bytes of answers that the client has not read yet. */
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
