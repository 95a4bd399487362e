/** Draws an anomaly map over a picture of its image. */

import { inTurns } from '../../util/turns.js';
import type { MapShape } from './anomaly-map.js';
import type { ColourScale } from './colour-scale.js';
import { colourLayerPng, overlaySteps } from './overlay.js';
import { greyJpeg } from './picture.js';

/** Picture and map of one image, in the geometry of the source image. */
export interface DrawnMap {
  readonly shape: MapShape;
  /** uint8 [rows, columns]. */
  readonly grey: Uint8Array;
  /** Robust z [rows, columns]; NaN where nothing that counts was scored. */
  readonly map: Float32Array;
  readonly scale: ColourScale;
}

/** The layers of a picture on a page. */
export interface PictureLayers {
  /** JPEG file of the image in grey. */
  readonly grey: Uint8Array;
  /** PNG file of the colours, transparent where the map has none. */
  readonly colours: Uint8Array;
}

/** Draws the map over the picture: uint8 [rows, columns, 3]. */
export function overlayRgb({ grey, map, shape, scale }: DrawnMap): Promise<Uint8Array> {
  return inTurns(overlaySteps(grey, map, shape, scale));
}

export async function pictureLayers({ grey, map, shape, scale }: DrawnMap): Promise<PictureLayers> {
  return { grey: await greyJpeg(grey, shape), colours: await colourLayerPng(map, shape, scale) };
}
