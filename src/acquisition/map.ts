/** Builds the anomaly map of an acquisition. */
import { anomalyMapSteps, mapShapeOf, mapToSource, PatchField } from '../imaging/map/anomaly-map.js';
import { colourScaleOf, colourStops } from '../imaging/map/colour-scale.js';
import { overlaySteps, rgbPng } from '../imaging/map/overlay.js';
import { pictureSteps } from '../imaging/map/picture.js';
import { patchPValue } from '../scoring/calibration.js';
import { inTurns } from '../util/turns.js';
import type { AcquisitionOutcome } from './outcome.js';
import type { AcquisitionRequest, AnomalyMap, ServedModel } from './types.js';

/**
 * Builds the map in the requested format; undefined where none was requested.
 * @param threshold of the image score: the colours begin there
 */
export async function anomalyMapOf(
  model: ServedModel,
  { format: source, options }: Pick<AcquisitionRequest, 'format' | 'options'>,
  { image, results }: Pick<AcquisitionOutcome, 'image' | 'results'>,
  threshold: number,
): Promise<AnomalyMap | undefined> {
  const format = options.anomalyMap;
  if (format === 'none') return undefined;
  const { geometry, manifest } = model;
  const { workingToSource } = image;
  const shape = mapShapeOf(source.rows, source.columns);
  const field = new PatchField(geometry, results.robustZ, manifest.scoring.aggregate.margin);
  const map = await inTurns(anomalyMapSteps(field, workingToSource, shape, source));
  const scale = colourScaleOf(threshold, map);
  const draw = async (): Promise<Uint8Array> => {
    const { placement, placedPixels } = image;
    const grey = await inTurns(pictureSteps(placedPixels, geometry.workingSize, placement, shape));
    return rgbPng(await inTurns(overlaySteps(grey, map, shape, scale)), shape);
  };
  return {
    format,
    ...shape,
    data: format === 'float32' ? new Uint8Array(map.buffer) : await draw(),
    mapToSource: mapToSource(shape, source.rows, source.columns),
    workingToSource,
    countingArea: [...image.sourceCorners(field.countingBox)],
    scale: colourStops(scale, (z) => patchPValue(manifest.calibration, z)),
  };
}
