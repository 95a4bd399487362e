/** Draws the anomaly map that a server sent over the pixels of the file that was scored. */
import type { AcquisitionAggregate } from '../../../../clients/typescript/src/index.js';
import { SaladError } from '../../../errors/index.js';
import { legendBelow } from '../../../imaging/map/legend.js';
import { type DrawnMap, overlayRgb } from '../../../imaging/map/map-drawing.js';
import { rgbPng } from '../../../imaging/map/overlay.js';
import { pictureOf } from '../../../imaging/map/picture.js';
import type { PixelFormat } from '../../../imaging/pixel-format/pixel-format.js';

export interface SourcePixels {
  readonly format: PixelFormat;
  /** All samples, row by row, little-endian. */
  readonly samples: Uint8Array;
}

/**
 * @param aggregate with an anomaly map in FLOAT32
 * @throws SaladError UNIMPLEMENTED if the server sent no map, or one that is not in the geometry of the source image
 */
export function drawnMapOf(
  { format, samples }: SourcePixels,
  { anomalyMap }: AcquisitionAggregate,
): DrawnMap {
  if (anomalyMap?.mapToSource === undefined || anomalyMap.scale.length < 2) {
    throw new SaladError(
      'UNIMPLEMENTED',
      'the server sent no anomaly map of the source image; it may be older',
    );
  }
  const { rows, columns, data, scale } = anomalyMap;
  const shape = { rows, columns };
  return {
    shape,
    grey: pictureOf(samples, format, shape),
    // A copy, because the bytes of a message may start where a float32 cannot.
    map: new Float32Array(Uint8Array.from(data).buffer),
    scale: { from: scale[0]!.robustZ, to: scale.at(-1)!.robustZ },
  };
}

/** PNG file of the map over the picture, with the colour bar below it. */
export async function overlayWithLegendPng(
  drawn: DrawnMap,
  { anomalyMap }: AcquisitionAggregate,
): Promise<Uint8Array> {
  const { rgb, shape } = legendBelow(await overlayRgb(drawn), drawn.shape, anomalyMap?.scale ?? []);
  return rgbPng(rgb, shape);
}
