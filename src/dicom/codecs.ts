/**
 * The codecs, all of which are WebAssembly. After a damaged stream an instance may fail on every later stream, and some
 * damaged streams make it loop for ever: codecs run in a decoder process, which is discarded after any error.
 */
import { createRequire } from 'node:module';
import type { Context as NativeContext } from 'dcmjs-codecs';
import { type Codestream, checkJpeg, checkJpeg2000, checkJpegLs, checkRle } from './codestream.js';
import { DicomFault } from './data-set.js';
import type { ScorableFacts } from './facts.js';
import { frameBytes } from './frames.js';
import type { Codec } from './syntaxes.js';

type NativeModule = typeof import('dcmjs-codecs');

export interface DecodedCells {
  /** [rows, columns] cells of Bits Allocated, row by row, little-endian. */
  readonly cells: Uint8Array;
  readonly codestream: Codestream;
}

/** The part of the JPEG-LS decoder that is used. */
interface JpegLsDecoder {
  getEncodedBuffer(length: number): Uint8Array;
  decode(): void;
  getDecodedBuffer(): Uint8Array;
  getFrameInfo(): { readonly width: number; readonly height: number; readonly componentCount: number };
  delete(): void;
}

/** Both packages are CommonJS modules whose named exports Node cannot detect. */
const require = createRequire(import.meta.url);

/** Messages of codecs about damaged streams that they nevertheless decode. */
const DAMAGE = /corrupt|premature|truncat|OpjMessageCallback(Warning|Error)|not enough/i;

const CHECKS = { jpeg: checkJpeg, jpegLs: checkJpegLs, jpeg2000: checkJpeg2000, rle: checkRle } as const;

/**
 * Decodes one frame.
 * @param bytes as `encapsulatedFrame` gives them
 * @throws DicomFault; any error of a codec
 */
export async function decodeCells(
  codec: Exclude<Codec, 'none'>,
  bytes: Uint8Array,
  facts: ScorableFacts,
): Promise<DecodedCells> {
  const codestream = CHECKS[codec](bytes, facts);
  const cells =
    codec === 'jpegLs' ? await decodeJpegLs(bytes, facts) : await decodeNative(codec, bytes, facts);
  if (cells.length !== frameBytes(facts)) {
    throw new DicomFault(`a frame decoded to ${cells.length} bytes, not ${frameBytes(facts)}`);
  }
  return { cells, codestream };
}

let native: Promise<NativeModule> | undefined;
let messages: string[] = [];

async function loadNative(): Promise<NativeModule> {
  const codecs = require('dcmjs-codecs') as NativeModule;
  const keep = (...parts: unknown[]) => void messages.push(parts.join(' '));
  Object.assign(codecs.log, { trace: keep, debug: keep, info: keep, warn: keep, error: keep });
  // Without messages the JPEG decoder fills missing data with grey and reports success.
  await codecs.NativeCodecs.initializeAsync({ logCodecsInfo: true });
  return codecs;
}

async function decodeNative(
  codec: 'jpeg' | 'jpeg2000' | 'rle',
  bytes: Uint8Array,
  facts: ScorableFacts,
): Promise<Uint8Array> {
  native ??= loadNative();
  const { Context, NativeCodecs } = await native;
  messages = [];
  const context = new Context({
    width: facts.columns,
    height: facts.rows,
    bitsAllocated: facts.bitsAllocated,
    bitsStored: facts.bitsStored,
    samplesPerPixel: 1,
    pixelRepresentation: facts.isSigned ? 1 : 0,
    planarConfiguration: 0,
    photometricInterpretation: facts.photometric,
    encodedBuffer: bytes,
  });
  const decode = {
    jpeg: () => NativeCodecs.decodeJpeg(context),
    jpeg2000: () => NativeCodecs.decodeJpeg2000(context),
    rle: () => NativeCodecs.decodeRle(context),
  };
  return checkedCells(decode[codec](), facts);
}

function checkedCells(decoded: NativeContext, facts: ScorableFacts): Uint8Array {
  const damage = messages.find((message) => DAMAGE.test(message));
  if (damage !== undefined)
    throw new DicomFault(`a compressed frame is damaged (${damage.split('::').at(-1)?.trim()})`);
  const isAsAnnounced =
    decoded.getWidth() === facts.columns &&
    decoded.getHeight() === facts.rows &&
    decoded.getBitsAllocated() === facts.bitsAllocated &&
    decoded.getSamplesPerPixel() === 1;
  if (!isAsAnnounced) throw new DicomFault('a frame decoded to another size than the header says');
  return decoded.getDecodedBuffer() ?? new Uint8Array(0);
}

let jpegLs: Promise<{ readonly JpegLSDecoder: new () => JpegLsDecoder }> | undefined;

async function decodeJpegLs(bytes: Uint8Array, facts: ScorableFacts): Promise<Uint8Array> {
  jpegLs ??= require('@cornerstonejs/codec-charls/decodewasmjs')();
  const { JpegLSDecoder } = await jpegLs!;
  const decoder = new JpegLSDecoder();
  decoder.getEncodedBuffer(bytes.length).set(bytes);
  decoder.decode();
  const { width, height, componentCount } = decoder.getFrameInfo();
  if (width !== facts.columns || height !== facts.rows || componentCount !== 1) {
    throw new DicomFault('a frame decoded to another size than the header says');
  }
  // A copy: the buffer is freed with the decoder.
  const cells = Uint8Array.from(decoder.getDecodedBuffer());
  decoder.delete();
  return cells;
}
