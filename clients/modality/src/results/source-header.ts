/** What results repeat of their source: identity of patient and study, for the archive that the source came from. */
import { open } from 'node:fs/promises';
import { inflateRawSync } from 'node:zlib';
import dicomParser, { type DataSet as ParsedDataSet } from 'dicom-parser';
import { DicomDataSet } from '../../../../src/dicom/data-set.js';
import { SaladError } from '../../../../src/errors/index.js';
import { isUid } from '../inbox/file-head.js';
import type { DataSet } from './data-set-writer.js';

/** The elements before the pixels are within this. */
const HEADER_BYTES = 4 * 1024 * 1024;
const INFLATED_BYTES_MAX = 64 * 1024 * 1024;
/** The elements that are repeated end with it. */
const LAST_REPEATED = 'x0020000e';

/**
 * Repeated as they are, with the pattern that their value must have: a bad value is left empty, because an archive may
 * refuse the result for it. All are of type 2 in their modules: they may be empty.
 */
const REPEATED: readonly (readonly [key: string, pattern: RegExp | undefined])[] = [
  ['00080020 DA', /^((19|20)\d\d(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01]))?$/],
  ['00080030 TM', /^(([01]\d|2[0-3])([0-5]\d([0-5]\d(\.\d{1,6})?)?)?)?$/],
  ['00080050 SH', undefined],
  ['00080090 PN', undefined],
  ['00100010 PN', undefined],
  ['00100020 LO', undefined],
  ['00100030 DA', /^((18|19|20)\d\d(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01]))?$/],
  ['00100040 CS', /^[MFO]?$/],
  ['00200010 SH', undefined],
];
const LENGTHS: Readonly<Record<string, number>> = { SH: 16, LO: 64, PN: 324 };

/** Of further elements: not repeated in reports. */
const ORIENTATION = /^[AFHLPR]{1,3}\\[AFHLPR]{1,3}$/;
const LOSSES: readonly (readonly [key: string, pattern: RegExp])[] = [
  ['00282112 DS', /^\d+(\.\d+)?$/],
  ['00282114 CS', /^[A-Z0-9_ ]{1,16}$/],
];

export interface SourceHeader {
  readonly studyInstanceUid: string;
  readonly seriesInstanceUid: string;
  readonly sopClassUid: string;
  readonly sopInstanceUid: string;
  /** Patient and study, ready to be written. */
  readonly repeated: DataSet;
  /** Directions of rows and columns, such as `L\F`; undefined where they are missing or malformed. */
  readonly patientOrientation: string | undefined;
  /** YES or NO: whether the pixels name the patient. */
  readonly burnedInAnnotation: string | undefined;
  /** Lossy compression of the source, ready to be written; undefined without one. */
  readonly compression: DataSet | undefined;
  /** All of the header, for what depends on a frame. */
  readonly root: DicomDataSet;
}

/** @throws SaladError DICOM_UNSUPPORTED where a UID of study, series or instance is missing */
export async function readSourceHeader(path: string): Promise<SourceHeader> {
  const file = await open(path, 'r');
  try {
    const { buffer, bytesRead } = await file.read(new Uint8Array(HEADER_BYTES), 0, HEADER_BYTES, 0);
    return sourceHeaderOf(parse(buffer.subarray(0, bytesRead)));
  } finally {
    await file.close();
  }
}

/** Up to the pixels, or as far as the header is within the bytes that are read. */
function parse(bytes: Uint8Array): ParsedDataSet {
  const inflater = (all: Uint8Array, from: number) =>
    Buffer.concat([
      all.subarray(0, from),
      inflateRawSync(all.subarray(from), { maxOutputLength: INFLATED_BYTES_MAX }),
    ]);
  const options = { untilTag: 'x7fe00010', inflater };
  try {
    return dicomParser.parseDicom(bytes, options as unknown as dicomParser.ParseDicomOptions);
  } catch (error) {
    const { dataSet } = (error ?? {}) as { readonly dataSet?: ParsedDataSet };
    // A private element before the pixels may be larger than what is read; patient and study come first.
    if (dataSet?.elements?.[LAST_REPEATED] !== undefined) return dataSet;
    throw new SaladError('DICOM_UNSUPPORTED', 'the header of the file cannot be read');
  }
}

function sourceHeaderOf(parsed: ParsedDataSet): SourceHeader {
  const uid = (tag: string) => {
    const text = (parsed.string(tag) ?? '').replace(/\0+$/, '').trim();
    if (isUid(text)) return text;
    throw new SaladError('DICOM_UNSUPPORTED', `(${tag.slice(1, 5)},${tag.slice(5)}) is no UID`);
  };
  const repeated: Record<string, Uint8Array> = {};
  for (const [key, pattern] of REPEATED) {
    const bytes = bytesOf(parsed, `x${key.slice(0, 8).toLowerCase()}`);
    const text = Buffer.from(bytes).toString('latin1').replace(/\0+$/, '').trim();
    const isFine = pattern?.test(text) ?? bytes.length <= (LENGTHS[key.slice(-2)] ?? 64);
    repeated[key] = isFine ? bytes : new Uint8Array(0);
  }
  const characterSet = bytesOf(parsed, 'x00080005');
  const root = new DicomDataSet(parsed);
  return {
    studyInstanceUid: uid('x0020000d'),
    seriesInstanceUid: uid('x0020000e'),
    sopClassUid: uid('x00080016'),
    sopInstanceUid: uid('x00080018'),
    repeated: { ...repeated, ...(characterSet.length === 0 ? {} : { '00080005 CS': characterSet }) },
    patientOrientation: matching(root.texts('x00200020').join('\\'), ORIENTATION),
    burnedInAnnotation: matching(root.text('x00280301'), /^(YES|NO)$/),
    compression: root.text('x00282110') === '01' ? compressionOf(root) : undefined,
    root,
  };
}

/** The elements of a lossy compression; ratios and methods where they are well formed. */
function compressionOf(root: DicomDataSet): DataSet {
  const known = LOSSES.flatMap(([key, pattern]) => {
    const values = root.texts(`x${key.slice(0, 8)}`);
    return values.length > 0 && values.every((value) => pattern.test(value))
      ? [[key, values.join('\\')]]
      : [];
  });
  return { '00282110 CS': '01', ...(Object.fromEntries(known) as DataSet) };
}

function matching(value: string | undefined, pattern: RegExp): string | undefined {
  return value !== undefined && pattern.test(value) ? value : undefined;
}

/** Without the padding at the end, which some programs write as zeros. */
function bytesOf(parsed: ParsedDataSet, tag: string): Uint8Array {
  const element = parsed.elements[tag];
  if (element === undefined) return new Uint8Array(0);
  let end = element.dataOffset + element.length;
  while (
    end > element.dataOffset &&
    (parsed.byteArray[end - 1] === 0 || parsed.byteArray[end - 1] === 0x20)
  ) {
    end -= 1;
  }
  return parsed.byteArray.subarray(element.dataOffset, end);
}
