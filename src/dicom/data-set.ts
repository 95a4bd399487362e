/**
 * A parsed data set with checked access to its values. Errors never contain text of a file, because any element may hold
 * the name of a patient.
 */
import { inflateRawSync } from 'node:zlib';
import dicomParser, { type Element, type DataSet as ParsedDataSet } from 'dicom-parser';
import { SaladError } from '../errors/index.js';
import { bareSyntax, hasPrefix } from './recognise.js';

/** Such as `x00280010`: group and element, as dicom-parser writes them. */
export type Tag = `x${string}`;

const TRANSFER_SYNTAX_UID: Tag = 'x00020010';
/** PS3.5 section 6.2, DS and IS. */
const DECIMAL = /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i;

/** A violation of the standard in the file. The message is a clause about the file, without any text of the file. */
export class DicomFault extends Error {
  override readonly name = 'DicomFault';
}

/** As the standard writes it: `(0028,0010)`. */
export function tagName(tag: Tag): string {
  return `(${tag.slice(1, 5)},${tag.slice(5)})`.toUpperCase();
}

/** A data set, or an item of a sequence. */
export class DicomDataSet {
  constructor(private readonly parsed: ParsedDataSet) {}

  element(tag: Tag): Element | undefined {
    return this.parsed.elements[tag];
  }

  /** The bytes to which offsets of elements refer; for a deflated file the inflated ones. */
  get bytes(): Uint8Array {
    return this.parsed.byteArray;
  }

  /** Numbers of 16 bits are little-endian in it. */
  get isLittleEndian(): boolean {
    return this.parsed.byteArrayParser === dicomParser.littleEndianByteArrayParser;
  }

  /** The bytes of an element's value; empty where it is missing. */
  valueOf(tag: Tag): Uint8Array {
    const element = this.element(tag);
    if (element === undefined) return new Uint8Array(0);
    return this.bytes.subarray(element.dataOffset, element.dataOffset + element.length);
  }

  /** Value `index` of an element of VR US; undefined where there is none. */
  uint16(tag: Tag, index = 0): number | undefined {
    return this.has(tag, 2 * index + 2) ? this.parsed.uint16(tag, index) : undefined;
  }

  /** As `uint16`, of VR SS. */
  int16(tag: Tag, index = 0): number | undefined {
    return this.has(tag, 2 * index + 2) ? this.parsed.int16(tag, index) : undefined;
  }

  /** All values of an element of text, without the blanks around them; empty where it is missing or empty. */
  texts(tag: Tag): readonly string[] {
    const text = Buffer.from(this.valueOf(tag)).toString('latin1');
    const values = text.split('\\').map((value) => value.replace(/\0+$/, '').trim());
    return values.some((value) => value !== '') ? values : [];
  }

  /** The first value of an element of text; undefined where it is missing or empty. */
  text(tag: Tag): string | undefined {
    return this.texts(tag)[0] || undefined;
  }

  /** The values of an element of VR DS or IS. @throws DicomFault where one is not a number. */
  numbers(tag: Tag): readonly number[] {
    return this.texts(tag).map((value) => {
      if (!DECIMAL.test(value)) throw new DicomFault(`${tagName(tag)} is not a number`);
      return Number(value);
    });
  }

  /** The items of a sequence; empty where it is missing. */
  items(tag: Tag): readonly DicomDataSet[] {
    return (this.element(tag)?.items ?? []).flatMap(({ dataSet }) =>
      dataSet === undefined ? [] : [new DicomDataSet(dataSet)],
    );
  }

  private has(tag: Tag, bytes: number): boolean {
    const element = this.element(tag);
    return element !== undefined && element.length >= bytes;
  }
}

export interface ParsedFile {
  readonly root: DicomDataSet;
  /** Transfer Syntax UID (0002,0010); for a bare data set the one recognised from its first bytes. */
  readonly syntaxUid: string;
}

/**
 * Parses a whole file, with or without prefix and file meta information (PS3.10 section 7).
 * @param inflatedBytesMax most bytes that a deflated data set may become
 * @throws DicomFault for anything truncated or malformed; SaladError IMAGE_TOO_LARGE
 */
export function parseFile(bytes: Uint8Array, inflatedBytesMax: number): ParsedFile {
  const bare = hasPrefix(bytes) ? undefined : bareSyntax(bytes);
  const inflater = (all: Uint8Array, from: number) => inflate(all, from, inflatedBytesMax);
  let parsed: ParsedDataSet;
  try {
    const options = { inflater, ...(bare === undefined ? {} : { TransferSyntaxUID: bare }) };
    // The package declares the inflater without a result, but uses one.
    parsed = dicomParser.parseDicom(bytes, options as unknown as dicomParser.ParseDicomOptions);
  } catch (error) {
    if (error instanceof SaladError || error instanceof DicomFault) throw error;
    throw new DicomFault(`it is truncated or malformed (${parserMessage(error)})`);
  }
  // The parser warns where a sequence or the pixel data has no end: the rest of the file is missing.
  if (parsed.warnings.length > 0) throw new DicomFault('it is truncated: an end is missing');
  const root = new DicomDataSet(parsed);
  const syntaxUid = bare ?? root.text(TRANSFER_SYNTAX_UID);
  if (syntaxUid === undefined)
    throw new DicomFault(`${tagName(TRANSFER_SYNTAX_UID)}, the transfer syntax, is missing`);
  return { root, syntaxUid };
}

/** dicom-parser throws texts, errors, and objects that hold either. Its own texts name functions and tags only. */
function parserMessage(thrown: unknown): string {
  const inner =
    typeof thrown === 'object' && thrown !== null && 'exception' in thrown ? thrown.exception : thrown;
  const text = inner instanceof Error ? inner.message : String(inner);
  const known = /^(?:dicomParser|littleEndianByteArrayParser|bigEndianByteArrayParser)[^ ]* (.+)$/.exec(text);
  return known?.[1]?.replace(/[^\w .,()-]+/g, ' ').trim() ?? 'no data set';
}

/** The whole file with its data set inflated (PS3.5 section A.5). */
function inflate(all: Uint8Array, from: number, maxOutputLength: number): Uint8Array {
  try {
    const head = all.subarray(0, from);
    return Buffer.concat([head, inflateRawSync(all.subarray(from), { maxOutputLength })]);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ERR_BUFFER_TOO_LARGE') {
      throw new SaladError('IMAGE_TOO_LARGE', `the data set inflates to more than ${maxOutputLength} bytes`);
    }
    throw new DicomFault('the deflated data set is truncated or damaged');
  }
}
