/** Decodes a DICOM file to frames and their pixel formats. Runs in the decoder process, in one thread. */
import { SaladError } from '../errors/index.js';
import type { PixelFormat } from '../imaging/pixel-format/pixel-format.js';
import { decodeCells } from './codecs.js';
import type { Codestream } from './codestream.js';
import { DicomFault, type ParsedFile, parseFile } from './data-set.js';
import { type DicomFacts, readFacts, type ScorableFacts, scorable } from './facts.js';
import { encapsulatedFrame, nativeFrame } from './frames.js';
import { type GreyScale, greyScaleOf, type Photometric } from './grey-scale.js';
import { type DicomInstance, instanceOf, patientKeyOf } from './instance.js';
import { findSyntax } from './syntaxes.js';

export interface OpenOptions {
  /** Largest rows * columns. */
  readonly maxPixels: number;
  /** Replaces the value of the file; for files that contradict themselves. */
  readonly photometric?: Photometric;
}

export interface DicomDescription {
  readonly facts: DicomFacts;
  readonly instance: DicomInstance;
  /** See `patientKeyOf`; only for grouping files, never written. */
  readonly patientKey: string | undefined;
  /** Of the first frame; undefined where the file is not scored. */
  readonly greyScale: GreyScale | undefined;
}

export interface DicomFrame {
  readonly format: PixelFormat;
  /** [rows, columns] cells, row by row; 16-bit cells little-endian. Bits above Bits Stored may be anything. */
  readonly samples: Uint8Array;
}

/** Most bytes besides the pixels in a deflated file. */
const INFLATED_EXTRA = 64 * 1024 * 1024;
/** Most characters of a codec's message in an error. */
const CODEC_MESSAGE_MAX = 120;

/** One file in memory. */
export class DicomImage {
  readonly description: DicomDescription;
  private readonly file: ParsedFile;
  private readonly facts: ScorableFacts | undefined;

  /**
   * Reads the header. The description of a file that cannot be scored contains the reasons.
   * @throws SaladError IMAGE_UNREADABLE where it cannot be parsed, IMAGE_TOO_LARGE where it inflates to too many bytes
   */
  constructor(
    bytes: Uint8Array,
    private readonly options: OpenOptions,
  ) {
    this.file = readable(() => parseFile(bytes, 2 * options.maxPixels + INFLATED_EXTRA));
    const { root } = this.file;
    const { facts, greyScale } = this.describe(readFacts(this.file));
    this.facts = scorable(facts);
    this.description = { facts, instance: instanceOf(root), patientKey: patientKeyOf(root), greyScale };
  }

  /**
   * Decodes a frame.
   * @param frame from 0
   * @throws SaladError DICOM_UNSUPPORTED, IMAGE_TOO_LARGE where the description has reasons; IMAGE_UNREADABLE
   */
  async frame(frame: number): Promise<DicomFrame> {
    const { root, syntaxUid } = this.file;
    const { facts } = this;
    if (facts === undefined) throw refusalOf(this.description, this.options.maxPixels);
    try {
      const { format } = greyScaleOf(root, facts, frame, this.options.photometric);
      const { codec } = findSyntax(syntaxUid)!;
      if (codec === 'none') return { format, samples: nativeFrame(root, facts, frame) };
      const { cells, codestream } = await decodeCells(codec, encapsulatedFrame(root, facts, frame), facts);
      return { format: withOvershoot(format, codestream), samples: cells };
    } catch (error) {
      throw asUnreadable(error);
    }
  }

  /** Adds the grey scale of the first frame to facts without reasons, or else the reasons why there is none. */
  private describe(facts: DicomFacts): Pick<DicomDescription, 'facts' | 'greyScale'> {
    const { maxPixels, photometric } = this.options;
    const { rows, columns } = facts;
    if (isTooLarge(facts, maxPixels)) {
      const reason = `${rows} rows of ${columns} columns exceed the limit of ${maxPixels} pixels`;
      return { facts: { ...facts, reasons: [...facts.reasons, reason] }, greyScale: undefined };
    }
    const known = scorable(facts);
    if (known === undefined) return { facts, greyScale: undefined };
    try {
      return { facts, greyScale: greyScaleOf(this.file.root, known, 0, photometric) };
    } catch (error) {
      if (!(error instanceof DicomFault)) throw error;
      return { facts: { ...facts, reasons: [error.message] }, greyScale: undefined };
    }
  }
}

function isTooLarge({ rows, columns }: DicomFacts, maxPixels: number): boolean {
  return rows !== null && columns !== null && rows * columns > maxPixels;
}

/** Builds the error that refuses a file, from a description with reasons. */
export function refusalOf({ facts }: DicomDescription, maxPixels: number): SaladError {
  const reason = isTooLarge(facts, maxPixels) ? 'IMAGE_TOO_LARGE' : 'DICOM_UNSUPPORTED';
  return new SaladError(reason, `the DICOM file cannot be scored: ${facts.reasons.join('; ')}`);
}

function readable<T>(work: () => T): T {
  try {
    return work();
  } catch (error) {
    throw asUnreadable(error);
  }
}

/** Converts faults of the file and anything that codecs throw: errors, texts, numbers, traps of WebAssembly. */
function asUnreadable(error: unknown): SaladError {
  if (error instanceof SaladError) return error;
  if (error instanceof DicomFault) {
    return new SaladError('IMAGE_UNREADABLE', `the DICOM file cannot be read: ${error.message}`);
  }
  const message = (error instanceof Error ? error.message : String(error)).replace(/[^\w .,:()-]+/g, ' ');
  const why = message.slice(0, CODEC_MESSAGE_MAX).trim();
  return new SaladError(
    'IMAGE_UNREADABLE',
    `the DICOM file cannot be read: a frame cannot be decoded (${why})`,
  );
}

/**
 * Lossy JPEG with more bits than Bits Stored may decode to values slightly above the largest: masked to Bits Stored, white
 * would become black. The bits of the codestream are kept instead, unless values are scaled by the number of bits.
 */
function withOvershoot(format: PixelFormat, { precision, isLossy }: Codestream): PixelFormat {
  if (!isLossy || precision === undefined || format.isSigned || format.voi.kind === 'fullRange')
    return format;
  return { ...format, bitsStored: Math.max(format.bitsStored, precision) };
}
