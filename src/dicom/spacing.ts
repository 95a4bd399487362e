/** Reads the size of a pixel (DICOM PS3.3 10.7.1.3 and C.7.6.3.1.7). */
import type { DicomDataSet, Tag } from './data-set.js';
import { frameGroup } from './frame-attributes.js';

const PIXEL_MEASURES: Tag = 'x00289110';
const PIXEL_SPACING: Tag = 'x00280030';
const IMAGER_PIXEL_SPACING: Tag = 'x00181164';
const NOMINAL_SCANNED_PIXEL_SPACING: Tag = 'x00182010';
const PIXEL_ASPECT_RATIO: Tag = 'x00280034';

export interface PixelSize {
  readonly rowSpacingMm?: number;
  readonly columnSpacingMm?: number;
  readonly pixelAspectRatio?: number;
}

/**
 * Returns Pixel Spacing, which some modalities calibrate at the patient; without it the spacing of the detector, or else of
 * the scanned film. A spacing that is not above 0 is ignored. Without any spacing the aspect ratio is returned.
 */
export function pixelSizeOf(root: DicomDataSet, frame: number): PixelSize {
  const measures = frameGroup(root, PIXEL_MEASURES, frame);
  const spacing =
    pair(measures, PIXEL_SPACING) ??
    pair(root, IMAGER_PIXEL_SPACING) ??
    pair(root, NOMINAL_SCANNED_PIXEL_SPACING);
  if (spacing !== undefined) return { rowSpacingMm: spacing[0], columnSpacingMm: spacing[1] };
  const ratio = pair(root, PIXEL_ASPECT_RATIO);
  return ratio === undefined || ratio[0] === ratio[1] ? {} : { pixelAspectRatio: ratio[0] / ratio[1] };
}

/** Vertical, then horizontal; undefined where there are not two numbers above 0. */
function pair(data: DicomDataSet, tag: Tag): readonly [number, number] | undefined {
  const [vertical, horizontal] = data.numbers(tag);
  const isKnown = (value: number | undefined): value is number =>
    value !== undefined && Number.isFinite(value) && value > 0;
  return isKnown(vertical) && isKnown(horizontal) ? [vertical, horizontal] : undefined;
}
