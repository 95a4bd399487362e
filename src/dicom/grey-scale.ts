/**
 * The grey-scale transformations of a frame as a pixel format: modality (DICOM PS3.3 C.11.1), VOI (C.11.2), presentation
 * (C.11.6), Pixel Padding (C.7.5.1.1.2) and the size of a pixel.
 */
import type { LookupTable } from '../imaging/pixel-format/lookup-table.js';
import type { PixelPadding } from '../imaging/pixel-format/modality.js';
import { type PixelFormat, validatePixelFormat } from '../imaging/pixel-format/pixel-format.js';
import { type DicomDataSet, DicomFault, type Tag } from './data-set.js';
import type { ScorableFacts } from './facts.js';
import { frameGroup } from './frame-attributes.js';
import { readLookupTable } from './lookup-table.js';
import { pixelSizeOf } from './spacing.js';
import { type ChosenVoi, chooseVoi } from './voi.js';

const PIXEL_VALUE_TRANSFORMATION: Tag = 'x00289145';
const MODALITY_LUT_SEQUENCE: Tag = 'x00283000';
const RESCALE_INTERCEPT: Tag = 'x00281052';
const RESCALE_SLOPE: Tag = 'x00281053';
const PIXEL_PADDING_VALUE: Tag = 'x00280120';
const PIXEL_PADDING_RANGE_LIMIT: Tag = 'x00280121';
const PRESENTATION_LUT_SHAPE: Tag = 'x20500020';
const PRESENTATION_INTENT_TYPE: Tag = 'x00080068';

export type Photometric = ScorableFacts['photometric'];

export interface GreyScale extends Pick<ChosenVoi, 'windows' | 'tables' | 'notes'> {
  readonly format: PixelFormat;
}

/**
 * Reads the pixel format of a frame.
 * @param frame from 0
 * @param photometric replaces the value of the file, for files that contradict themselves
 * @throws DicomFault where attributes are malformed or contradict each other
 */
export function greyScaleOf(
  root: DicomDataSet,
  facts: ScorableFacts,
  frame: number,
  photometric?: Photometric,
): GreyScale {
  const modality = modalityOf(root, facts, frame);
  const padding = paddingOf(root, facts);
  const isIdentity =
    modality.modalityLut === undefined && modality.rescaleSlope === 1 && modality.rescaleIntercept === 0;
  const isNegative = isSignedOutput(facts, modality);
  const { voi, notes, ...offered } = chooseVoi(root, frame, isIdentity && facts.bitsStored <= 8, isNegative);
  const format: PixelFormat = {
    rows: facts.rows,
    columns: facts.columns,
    bitsAllocated: facts.bitsAllocated,
    bitsStored: facts.bitsStored,
    isSigned: facts.isSigned,
    monochrome1: isInverse(root, facts, photometric),
    ...modality,
    voi,
    ...(padding === undefined ? {} : { padding }),
    ...pixelSizeOf(root, frame),
  };
  // A value out of range is a fault of the file; the error of the check names fields of a request's header.
  try {
    validatePixelFormat(format);
  } catch (error) {
    throw new DicomFault((error as Error).message.replace('header.image.', ''));
  }
  return { format, ...offered, notes: [...notes, ...intentNotes(root)] };
}

type Modality = Pick<PixelFormat, 'rescaleSlope' | 'rescaleIntercept' | 'modalityLut'>;

/** Uses the Modality LUT if there is one; the rescale of such a file must not change any value. */
function modalityOf(root: DicomDataSet, facts: ScorableFacts, frame: number): Modality {
  const [item] = root.items(MODALITY_LUT_SEQUENCE);
  const group = frameGroup(root, PIXEL_VALUE_TRANSFORMATION, frame);
  const [rescaleSlope = 1] = group.numbers(RESCALE_SLOPE);
  const [rescaleIntercept = 0] = group.numbers(RESCALE_INTERCEPT);
  if (item === undefined) return { rescaleSlope, rescaleIntercept };
  if (rescaleSlope !== 1 || rescaleIntercept !== 0) {
    throw new DicomFault('it has a Modality LUT and a rescale that contradicts it');
  }
  const modalityLut: LookupTable = readLookupTable(item, facts.isSigned);
  return { rescaleSlope: 1, rescaleIntercept: 0, modalityLut };
}

/** Whether the modality transformation may give values below 0. */
function isSignedOutput(
  facts: ScorableFacts,
  { modalityLut, rescaleSlope, rescaleIntercept }: Modality,
): boolean {
  if (modalityLut !== undefined) return false;
  const lowest = facts.isSigned ? -(2 ** (facts.bitsStored - 1)) : 0;
  const highest = lowest + 2 ** facts.bitsStored - 1;
  return Math.min(rescaleSlope * lowest, rescaleSlope * highest) + rescaleIntercept < 0;
}

/** Both limits are stored values, in either order; a limit outside the range of Bits Stored matches no pixel. */
function paddingOf(root: DicomDataSet, facts: ScorableFacts): PixelPadding | undefined {
  const read = (tag: Tag) => (facts.isSigned ? root.int16(tag) : root.uint16(tag));
  const value = read(PIXEL_PADDING_VALUE);
  if (value === undefined) return undefined;
  const limit = read(PIXEL_PADDING_RANGE_LIMIT) ?? value;
  return { first: Math.min(value, limit), last: Math.max(value, limit) };
}

/**
 * Whether low values are shown white. Presentation LUT Shape and Photometric Interpretation state the same property of an
 * image (PS3.3 C.8.11.3.1): INVERSE belongs to MONOCHROME1, and is not a second inversion.
 * @throws DicomFault where they contradict each other: viewers differ, and one way is the negative
 */
function isInverse(root: DicomDataSet, facts: ScorableFacts, photometric: Photometric | undefined): boolean {
  if (photometric !== undefined) return photometric === 'MONOCHROME1';
  const isMonochrome1 = facts.photometric === 'MONOCHROME1';
  const shape = root.text(PRESENTATION_LUT_SHAPE);
  if (shape === undefined) return isMonochrome1;
  if (shape !== 'IDENTITY' && shape !== 'INVERSE') {
    throw new DicomFault('its Presentation LUT Shape is neither IDENTITY nor INVERSE');
  }
  if ((shape === 'INVERSE') !== isMonochrome1) {
    throw new DicomFault(
      `Presentation LUT Shape ${shape} contradicts ${facts.photometric}: give the right photometric interpretation`,
    );
  }
  return isMonochrome1;
}

function intentNotes(root: DicomDataSet): readonly string[] {
  return root.text(PRESENTATION_INTENT_TYPE) === 'FOR PROCESSING'
    ? ['it is an image FOR PROCESSING, which may differ from the images that a model was trained on']
    : [];
}
