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

/** Directions of the patient (PS3.3 C.7.6.2.1.1) as cosines. */
const DIRECTIONS: Readonly<Record<string, readonly [number, number, number]>> = {
  ...{ L: [1, 0, 0], R: [-1, 0, 0] },
  ...{ P: [0, 1, 0], A: [0, -1, 0] },
  ...{ H: [0, 0, 1], F: [0, 0, -1] },
};

/**
 * The plane of the source where it has one. A projection has none: its orientation is derived from Patient Orientation
 * (0020,0020) where rows and columns each have a single direction, in a frame of reference of its own, whose origin is
 * its first pixel. Without both there is no plane: a guess might exchange left and right.
 * @param frames numbers of frames, from 1
 */
export function planeOf(source: SourceHeader, frames: readonly number[], own: OwnUid): Plane | undefined {
  return planeOfHeader(source, frames) ?? derivedPlane(source, frames, own);
}

function planeOfHeader({ root }: SourceHeader, frames: readonly number[]): Plane | undefined {
  const frameOfReferenceUid = root.text(FRAME_OF_REFERENCE);
  if (frameOfReferenceUid === undefined || !isUid(frameOfReferenceUid)) return undefined;
  const values = (macro: typeof PLANE_POSITION | typeof PLANE_ORIENTATION, frame: number) =>
    frameGroup(root, macro, frame - 1).texts(macro === PLANE_POSITION ? IMAGE_POSITION : IMAGE_ORIENTATION);
  const orientations = frames.map((frame) => decimals(values(PLANE_ORIENTATION, frame), 6));
  const positions = frames.map((frame) => decimals(values(PLANE_POSITION, frame), 3));
  const [orientation] = orientations;
  if (orientation === undefined || orientations.some((each) => each !== orientation)) return undefined;
  return positions.every((each) => each !== undefined)
    ? { orientation, positions, frameOfReferenceUid }
    : undefined;
}

function derivedPlane(
  { patientOrientation }: SourceHeader,
  frames: readonly number[],
  own: OwnUid,
): Plane | undefined {
  const [row, column] = (patientOrientation ?? '').split('\\').map((direction) => DIRECTIONS[direction]);
  if (row === undefined || column === undefined) return undefined;
  if (row.some((cosine, axis) => cosine !== 0 && column[axis] !== 0)) return undefined;
  return {
    orientation: [...row, ...column].join('\\'),
    positions: frames.map(() => '0\\0\\0'),
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
