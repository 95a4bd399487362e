/** Reads the facts about the image from the header of a DICOM file, and the reasons why it cannot be scored. */
import { type DicomDataSet, type ParsedFile, type Tag, tagName } from './data-set.js';
import { findSyntax } from './syntaxes.js';

const TAGS = {
  modality: 'x00080060',
  samplesPerPixel: 'x00280002',
  photometric: 'x00280004',
  frames: 'x00280008',
  rows: 'x00280010',
  columns: 'x00280011',
  bitsAllocated: 'x00280100',
  bitsStored: 'x00280101',
  highBit: 'x00280102',
  pixelRepresentation: 'x00280103',
  floatPixelData: 'x7fe00008',
  doubleFloatPixelData: 'x7fe00009',
  pixelData: 'x7fe00010',
} as const satisfies Record<string, Tag>;

/** Photometric interpretations of PS3.3 C.7.6.3.1.2; a file may hold any text there. */
const PHOTOMETRIC: ReadonlySet<string> = new Set([
  ...['MONOCHROME1', 'MONOCHROME2', 'PALETTE COLOR', 'RGB', 'XYB', 'YBR_FULL', 'YBR_FULL_422'],
  ...['YBR_PARTIAL_422', 'YBR_PARTIAL_420', 'YBR_ICT', 'YBR_RCT', 'HSV', 'ARGB', 'CMYK'],
]);
/** Modalities that are reported; a file may hold any text there. */
const MODALITIES: ReadonlySet<string> = new Set([
  ...[
    'CR',
    'DX',
    'MG',
    'RF',
    'XA',
    'RG',
    'IO',
    'PX',
    'RTIMAGE',
    'BMD',
    'OT',
    'SC',
    'CT',
    'MR',
    'NM',
    'PT',
    'US',
  ],
]);

/** Values that are missing are null. */
export interface DicomFacts {
  readonly syntaxUid: string;
  /** Null for a syntax that is not supported. */
  readonly syntax: string | null;
  readonly modality: string | null;
  readonly photometric: string | null;
  readonly rows: number | null;
  readonly columns: number | null;
  readonly frames: number;
  readonly bitsAllocated: number | null;
  readonly bitsStored: number | null;
  readonly isSigned: boolean;
  /** Why it cannot be scored, one clause each; empty if it can. */
  readonly reasons: readonly string[];
}

/** Facts of a file that can be scored: all are in range. */
export interface ScorableFacts {
  readonly rows: number;
  readonly columns: number;
  readonly frames: number;
  readonly bitsAllocated: 8 | 16;
  readonly bitsStored: number;
  readonly isSigned: boolean;
  readonly photometric: 'MONOCHROME1' | 'MONOCHROME2';
}

/** Never throws: faults become reasons. */
export function readFacts({ root, syntaxUid }: ParsedFile): DicomFacts {
  const syntax = findSyntax(syntaxUid);
  const facts = {
    syntaxUid: isStandardUid(syntaxUid) ? syntaxUid : 'private',
    syntax: syntax?.name ?? null,
    modality: listedValue(MODALITIES, root.text(TAGS.modality)),
    photometric: listedValue(PHOTOMETRIC, root.text(TAGS.photometric)),
    rows: root.uint16(TAGS.rows) ?? null,
    columns: root.uint16(TAGS.columns) ?? null,
    frames: framesOf(root) ?? 1,
    bitsAllocated: root.uint16(TAGS.bitsAllocated) ?? null,
    bitsStored: root.uint16(TAGS.bitsStored) ?? null,
    isSigned: root.uint16(TAGS.pixelRepresentation) === 1,
  };
  return { ...facts, reasons: [...imageReasons(root, facts), ...pixelReasons(root, facts)] };
}

/** The facts if the file can be scored. */
export function scorable(facts: DicomFacts): ScorableFacts | undefined {
  return facts.reasons.length === 0 ? (facts as DicomFacts & ScorableFacts) : undefined;
}

type Facts = Omit<DicomFacts, 'reasons'>;

function imageReasons(root: DicomDataSet, facts: Facts): string[] {
  const reasons: string[] = [];
  if (facts.syntax === null) reasons.push(`its transfer syntax (${facts.syntaxUid}) is not supported`);
  if (root.element(TAGS.pixelData) === undefined) {
    const isFloat = [TAGS.floatPixelData, TAGS.doubleFloatPixelData].some((tag) => root.element(tag));
    reasons.push(
      isFloat
        ? 'its pixels are floating-point numbers, which are not supported'
        : `it holds no image: Pixel Data ${tagName(TAGS.pixelData)} is missing`,
    );
  }
  for (const side of ['rows', 'columns'] as const) {
    const value = facts[side];
    if (value === null || value < 1) {
      reasons.push(`the number of ${side} ${tagName(TAGS[side])} is ${value ?? 'missing'}`);
    }
  }
  if (framesOf(root) === undefined) {
    reasons.push(`the Number of Frames ${tagName(TAGS.frames)} is not a whole number of at least 1`);
  }
  return reasons;
}

function pixelReasons(root: DicomDataSet, facts: Facts): string[] {
  const { photometric, bitsAllocated, bitsStored } = facts;
  const samples = root.uint16(TAGS.samplesPerPixel) ?? 1;
  if (samples !== 1 || (photometric !== 'MONOCHROME1' && photometric !== 'MONOCHROME2')) {
    const what = photometric ?? (root.text(TAGS.photometric) === undefined ? 'missing' : 'unknown');
    return [
      `it is not a grey image: photometric interpretation ${what}, ${samples} samples per pixel; ` +
        'only MONOCHROME1 and MONOCHROME2 are scored, colour is not converted',
    ];
  }
  if (bitsAllocated !== 8 && bitsAllocated !== 16) {
    return [`Bits Allocated ${tagName(TAGS.bitsAllocated)} is ${bitsAllocated ?? 'missing'}, not 8 or 16`];
  }
  const reasons: string[] = [];
  if (bitsStored === null || bitsStored < 1 || bitsStored > bitsAllocated) {
    reasons.push(
      `Bits Stored ${tagName(TAGS.bitsStored)} is ${bitsStored ?? 'missing'}, not 1 to ${bitsAllocated}`,
    );
  }
  const highBit = root.uint16(TAGS.highBit);
  if (bitsStored !== null && highBit !== undefined && highBit !== bitsStored - 1) {
    reasons.push(`High Bit ${tagName(TAGS.highBit)} is ${highBit}, not Bits Stored - 1 = ${bitsStored - 1}`);
  }
  const representation = root.uint16(TAGS.pixelRepresentation);
  if (representation !== 0 && representation !== 1) {
    reasons.push(
      `Pixel Representation ${tagName(TAGS.pixelRepresentation)} is ${representation ?? 'missing'}, not 0 or 1`,
    );
  }
  return reasons;
}

/** Number of frames: undefined where the element holds something else, 1 where it is missing. */
function framesOf(root: DicomDataSet): number | undefined {
  const text = root.text(TAGS.frames);
  if (text === undefined) return 1;
  return /^\+?\d{1,9}$/.test(text) && Number(text) >= 1 ? Number(text) : undefined;
}

/** UIDs under the root of the standard; others may hold anything. */
function isStandardUid(uid: string): boolean {
  return /^1\.2\.840\.10008\.[0-9.]{1,40}$/.test(uid);
}

/** The value if it is in the list, else null. */
function listedValue(values: ReadonlySet<string>, value: string | undefined): string | null {
  return value !== undefined && values.has(value) ? value : null;
}
