/** Where the pixels of a frame lie: size of a pixel, plane, frame of reference (PS3.3 C.7.6.16.2.1, .3, .4 and C.7.4.1). */
import { DicomFault } from '../../../../src/dicom/data-set.js';
import { frameGroup } from '../../../../src/dicom/frame-attributes.js';
import { type PixelSize, pixelSizeOf } from '../../../../src/dicom/spacing.js';
import { isUid } from '../inbox/file-head.js';
import type { OwnUid } from './result-object.js';
import type { SourceHeader } from './source-header.js';

const PLANE_POSITION = 'x00209113';
const PLANE_ORIENTATION = 'x00209116';
const IMAGE_POSITION = 'x00200032';
const IMAGE_ORIENTATION = 'x00200037';
const FRAME_OF_REFERENCE = 'x00200052';

/** Values as they are written in DICOM. */
export interface Plane {
  readonly orientation: string;
  /** Of each frame. */
  readonly positions: readonly string[];
  readonly frameOfReferenceUid: string;
}

/**
 * What viewers assume of an image without a plane, such as a projection: rows along x, columns along y, the first pixel at
 * the origin. OHIF refuses a segmentation without a plane, or with another one than it assumes of the image.
 */
const ASSUMED = { orientation: '1\\0\\0\\0\\1\\0', position: '0\\0\\0' };

/**
 * The plane of the source where it has one, else the one that viewers assume, in a frame of reference of its own: it then
 * says nothing about directions of the patient.
 * @param frames numbers of frames, from 1
 */
export function planeOf({ root }: SourceHeader, frames: readonly number[], own: OwnUid): Plane {
  const frameOfReference = root.text(FRAME_OF_REFERENCE);
  const frameOfReferenceUid =
    frameOfReference !== undefined && isUid(frameOfReference) ? frameOfReference : own('frame of reference');
  const values = (macro: typeof PLANE_POSITION | typeof PLANE_ORIENTATION, frame: number) =>
    frameGroup(root, macro, frame - 1).texts(macro === PLANE_POSITION ? IMAGE_POSITION : IMAGE_ORIENTATION);
  const orientations = frames.map((frame) => decimals(values(PLANE_ORIENTATION, frame), 6));
  const positions = frames.map((frame) => decimals(values(PLANE_POSITION, frame), 3));
  const [orientation] = orientations;
  if (
    orientation !== undefined &&
    orientations.every((each) => each === orientation) &&
    positions.every((each) => each !== undefined)
  ) {
    return { orientation, positions, frameOfReferenceUid };
  }
  return {
    orientation: ASSUMED.orientation,
    positions: frames.map(() => ASSUMED.position),
    frameOfReferenceUid: own('frame of reference'),
  };
}

/** @returns the values joined, if they are so many decimal strings */
function decimals(values: readonly string[], count: number): string | undefined {
  const isFine = (value: string) => /^[+-]?\d+(\.\d*)?(e[+-]?\d+)?$/i.test(value) && value.length <= 16;
  return values.length === count && values.every(isFine) ? values.join('\\') : undefined;
}

/**
 * Pixel Spacing, row before column, in mm: that of the source, else that of its detector or of the scanned film. Without
 * any the unit is the width of a pixel: viewers refuse a segmentation without spacing.
 * @param frame from 1
 */
export function pixelSpacingOf({ root }: SourceHeader, frame: number): string {
  const { rowSpacingMm, columnSpacingMm, pixelAspectRatio = 1 } = knownSize(root, frame);
  return [rowSpacingMm ?? pixelAspectRatio, columnSpacingMm ?? 1].map(decimalOf).join('\\');
}

function knownSize(root: SourceHeader['root'], frame: number): PixelSize {
  try {
    return pixelSizeOf(root, frame - 1);
  } catch (error) {
    if (error instanceof DicomFault) return {};
    throw error;
  }
}

/** A decimal string has at most 16 characters. */
function decimalOf(value: number): string {
  return String(Number(value.toPrecision(8)));
}
