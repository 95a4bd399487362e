/** Collects the information about a DICOM file for `salad dicom info`. */
import { readFile } from 'node:fs/promises';
import type { DicomDescription } from '../../../dicom/decode.js';
import { sharedDicomDecoder } from '../../../dicom/decoder/dicom-decoder.js';
import type { DicomFile } from '../../../dicom/decoder/dicom-file.js';
import { isDicom } from '../../../dicom/recognise.js';
import { SaladError, systemReason } from '../../../errors/index.js';
import type { PixelFormat } from '../../../imaging/pixel-format/pixel-format.js';

/** The highest pixel limit that a server can be configured with. */
const FILE_PIXELS_MAX = 2 ** 30;

export interface DicomInfo {
  readonly file: string;
  readonly scorable: boolean;
  /** Why it cannot be scored, one clause each. */
  readonly reasons: readonly string[];
  /** How the file was interpreted where the standard leaves a choice. */
  readonly notes: readonly string[];
  /** Null where the file cannot be parsed. */
  readonly description: DicomDescription | null;
}

/** @throws SaladError CONFIGURATION_INVALID where the file cannot be read from the disk; CANCELLED */
export async function inspectDicom(file: string, signal: AbortSignal): Promise<DicomInfo> {
  const bytes = await readFile(file).catch((error: NodeJS.ErrnoException) => {
    const why = error.code === 'EISDIR' ? ' is a folder: name the files in it' : `: ${systemReason(error)}`;
    throw new SaladError('CONFIGURATION_INVALID', `${file}${why}`, { cause: error });
  });
  const failed = (reason: string): DicomInfo => ({
    ...{ file, scorable: false, reasons: [reason], notes: [], description: null },
  });
  if (!isDicom(bytes)) return failed('it is not a DICOM file');
  let opened: DicomFile;
  try {
    opened = await sharedDicomDecoder().open(bytes, { maxPixels: FILE_PIXELS_MAX, signal });
  } catch (error) {
    return failed(reasonOf(error));
  }
  try {
    const { description } = opened;
    const reasons =
      description.facts.reasons.length > 0 ? description.facts.reasons : await frameReasons(opened, signal);
    const notes = description.greyScale?.notes ?? [];
    return { file, scorable: reasons.length === 0, reasons, notes, description };
  } finally {
    opened.close();
  }
}

/** The reasons why frames cannot be decoded, one per frame. */
async function frameReasons(opened: DicomFile, signal: AbortSignal): Promise<readonly string[]> {
  const reasons: string[] = [];
  for (let frame = 0; frame < opened.frames; frame++) {
    try {
      await opened.frame(frame, { signal });
    } catch (error) {
      reasons.push(opened.frames === 1 ? reasonOf(error) : `frame ${frame + 1}: ${reasonOf(error)}`);
    }
  }
  return reasons;
}

/** @throws the given error where the file did not cause it */
function reasonOf(error: unknown): string {
  const known = SaladError.from(error);
  if (known.kind !== 'invalidArgument' && known.reason !== 'IMAGE_TOO_LARGE') throw known;
  return known.message.replace(/^the DICOM file cannot be (read|scored): /, '');
}

/** The object of `--json`. Missing values are null. */
export function infoJson({ file, scorable, reasons, notes, description }: DicomInfo, identify: boolean) {
  const facts = description?.facts;
  const instance = description?.instance;
  return {
    file,
    syntax: facts?.syntax ?? null,
    syntaxUid: facts?.syntaxUid ?? null,
    modality: facts?.modality ?? null,
    photometric: facts?.photometric ?? null,
    rows: facts?.rows ?? null,
    columns: facts?.columns ?? null,
    frames: facts?.frames ?? null,
    bitsAllocated: facts?.bitsAllocated ?? null,
    bitsStored: facts?.bitsStored ?? null,
    isSigned: facts?.isSigned ?? null,
    ...greyScaleJson(description?.greyScale),
    orientation: instance?.orientation ?? null,
    laterality: instance?.laterality ?? null,
    view: instance?.view ?? null,
    ...(identify ? { sopInstanceUid: instance?.sopInstanceUid ?? null } : {}),
    scorable,
    reasons,
    notes,
  };
}

/** `voi` is the kind of VOI transform in use; `window` or `lut` is its value. */
function greyScaleJson(greyScale: DicomDescription['greyScale']) {
  const format = greyScale?.format;
  return {
    voi: format?.voi.kind ?? null,
    window: format?.voi.kind === 'window' ? withoutKind(format.voi) : null,
    lut: format?.voi.kind === 'lut' ? tableJson(format.voi) : null,
    windows: greyScale?.windows ?? null,
    luts: greyScale?.tables ?? null,
    modalityLut: format?.modalityLut === undefined ? null : tableJson(format.modalityLut),
    rescale: format === undefined ? null : { slope: format.rescaleSlope, intercept: format.rescaleIntercept },
    lowIsWhite: format?.monochrome1 ?? null,
    padding: format?.padding ?? null,
    ...sizeJson(format),
  };
}

function sizeJson(format: PixelFormat | undefined) {
  const { rowSpacingMm: row, columnSpacingMm: column, pixelAspectRatio } = format ?? {};
  return {
    spacingMm: row === undefined || column === undefined ? null : [row, column],
    aspectRatio: pixelAspectRatio ?? (row === undefined || column === undefined ? null : row / column),
  };
}

function withoutKind({
  center,
  width,
  function: shape,
}: {
  center: number;
  width: number;
  function: string;
}) {
  return { center, width, function: shape };
}

function tableJson(table: {
  firstValue: number;
  bitsPerEntry: number;
  entries: { readonly length: number };
}) {
  const { firstValue, bitsPerEntry, entries } = table;
  return { firstValue, bitsPerEntry, entries: entries.length };
}
