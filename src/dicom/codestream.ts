/**
 * Checks a compressed frame before it is decoded: its size is that of the header, it is complete, and nothing follows
 * it. Decoders accept half a stream and leave the rest of the image grey.
 */
import { DicomFault } from './data-set.js';
import type { ScorableFacts } from './facts.js';
import { frameBytes } from './frames.js';

/** Most bytes of any content behind the end of a codestream. */
const PADDING_MAX = 16;

const SOI = 0xd8;
const EOI = 0xd9;
const SOS = 0xda;
/** Start of frame of JPEG: baseline, extended, progressive, lossless. */
const JPEG_FRAMES: ReadonlySet<number> = new Set([0xc0, 0xc1, 0xc2, 0xc3]);
const LOSSLESS_FRAME = 0xc3;
/** Start of frame of JPEG-LS (ISO 14495-1, annex C). */
const JPEG_LS_FRAME = 0xf7;

export interface Codestream {
  /** Bits of a sample in the codestream, where it says so. */
  readonly precision?: number;
  /** Decoded samples may exceed the largest encoded value. */
  readonly isLossy: boolean;
}

/** @throws DicomFault */
export function checkJpeg(bytes: Uint8Array, facts: ScorableFacts): Codestream {
  return checkMarkers(bytes, facts, JPEG_FRAMES);
}

/** @throws DicomFault */
export function checkJpegLs(bytes: Uint8Array, facts: ScorableFacts): Codestream {
  return { ...checkMarkers(bytes, facts, new Set([JPEG_LS_FRAME])), isLossy: false };
}

/** Reads the marker segments of ISO 10918-1 annex B, which JPEG-LS uses too. */
function checkMarkers(bytes: Uint8Array, facts: ScorableFacts, frames: ReadonlySet<number>): Codestream {
  if (bytes[0] !== 0xff || bytes[1] !== SOI) throw new DicomFault('a frame is no JPEG codestream');
  let found: Codestream | undefined;
  let at = 2;
  while (bytes[at] !== 0xff || bytes[at + 1] !== EOI) {
    if (bytes[at] !== 0xff || at + 4 > bytes.length) throw truncated();
    const marker = bytes[at + 1]!;
    // A marker may be preceded by any number of fill bytes.
    if (marker === 0xff) {
      at += 1;
      continue;
    }
    const end = at + 2 + ((bytes[at + 2]! << 8) | bytes[at + 3]!);
    if (end > bytes.length) throw truncated();
    if (frames.has(marker)) found = readFrameHeader(bytes, at, facts, marker);
    at = marker === SOS ? entropyCodedEnd(bytes, end) : end;
  }
  if (found === undefined)
    throw new DicomFault('a JPEG codestream has no frame header of a kind that is supported');
  refuseTrailing(bytes, at + 2);
  return found;
}

function readFrameHeader(bytes: Uint8Array, at: number, facts: ScorableFacts, marker: number): Codestream {
  const [precision, rows, columns, components] = [
    bytes[at + 4]!,
    (bytes[at + 5]! << 8) | bytes[at + 6]!,
    (bytes[at + 7]! << 8) | bytes[at + 8]!,
    bytes[at + 9]!,
  ];
  checkSize(facts, { rows, columns, components, precision });
  return { precision, isLossy: marker !== LOSSLESS_FRAME };
}

/** First byte of the next marker that is neither stuffed data nor a restart. */
function entropyCodedEnd(bytes: Uint8Array, from: number): number {
  for (let at = bytes.indexOf(0xff, from); at >= 0; at = bytes.indexOf(0xff, at + 1)) {
    const next = bytes[at + 1];
    // JPEG stuffs a zero byte, JPEG-LS a zero bit.
    const isMarker = next !== undefined && next >= 0x80 && next !== 0xff && !(next >= 0xd0 && next <= 0xd7);
    if (isMarker) return at;
  }
  throw truncated();
}

/** Marker segments of JPEG 2000 (ISO 15444-1 annex A). */
const J2K_SOC = 0xff4f;
const J2K_SIZ = 0xff51;
const J2K_SOT = 0xff90;
const J2K_EOC = 0xffd9;

/** @throws DicomFault */
export function checkJpeg2000(bytes: Uint8Array, facts: ScorableFacts): Codestream {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const has = (length: number) => length <= bytes.length;
  if (!has(42) || view.getUint16(0) !== J2K_SOC || view.getUint16(2) !== J2K_SIZ) {
    throw new DicomFault('a frame is no JPEG 2000 codestream');
  }
  const components = view.getUint16(40);
  const depth = bytes[42] ?? 0;
  checkSize(facts, {
    columns: view.getUint32(8) - view.getUint32(16),
    rows: view.getUint32(12) - view.getUint32(20),
    components,
    precision: (depth & 0x7f) + 1,
  });
  if (depth >= 0x80 && !facts.isSigned) {
    throw new DicomFault('its JPEG 2000 samples are signed, its Pixel Representation is not');
  }
  const end = checkTileParts(view, tileCount(view));
  refuseTrailing(bytes, end);
  return { precision: (depth & 0x7f) + 1, isLossy: false };
}

function tileCount(view: DataView): number {
  const along = (size: number, offset: number, tile: number) =>
    Math.ceil((view.getUint32(size) - view.getUint32(offset)) / view.getUint32(tile));
  return along(8, 32, 24) * along(12, 36, 28);
}

/** Checks that all tile-parts have the length they announce, and that every tile has one. @returns end of the codestream */
function checkTileParts(view: DataView, tiles: number): number {
  const seen = new Set<number>();
  let at = 2;
  for (;;) {
    if (at + 2 > view.byteLength) throw truncated();
    const marker = view.getUint16(at);
    if (marker === J2K_EOC) break;
    if (at + 12 > view.byteLength || marker < 0xff00) throw truncated();
    if (marker !== J2K_SOT) {
      at += 2 + view.getUint16(at + 2);
      continue;
    }
    seen.add(view.getUint16(at + 4));
    const length = view.getUint32(at + 6);
    // 0: up to the end of the codestream, in the last tile-part only.
    if (length === 0) at = lastMarker(view);
    else if (length < 14) throw new DicomFault('a JPEG 2000 tile-part is shorter than its header');
    else at += length;
  }
  if (seen.size !== tiles) throw truncated();
  return at + 2;
}

function lastMarker(view: DataView): number {
  let at = view.byteLength - 2;
  while (at > 0 && view.getUint16(at) !== J2K_EOC) at -= 1;
  return at > 0 ? at : view.byteLength;
}

/**
 * RLE (PS3.5 annex G): one segment for each byte of a cell, each of which must contain all pixels.
 * @throws DicomFault
 */
export function checkRle(bytes: Uint8Array, facts: ScorableFacts): Codestream {
  const segments = facts.bitsAllocated / 8;
  if (bytes.length < 64) throw truncated();
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (view.getUint32(0, true) !== segments) {
    throw new DicomFault(`an RLE frame has ${view.getUint32(0, true)} segments, not ${segments}`);
  }
  for (let segment = 0; segment < segments; segment++) {
    const start = view.getUint32(4 + 4 * segment, true);
    const end = segment + 1 < segments ? view.getUint32(8 + 4 * segment, true) : bytes.length;
    if (start < 64 || end > bytes.length || end <= start)
      throw new DicomFault('an RLE segment lies outside its frame');
    if (unpackedLength(bytes, start, end) < frameBytes(facts) / segments) throw truncated();
  }
  return { isLossy: false };
}

/** Number of bytes that a segment of PackBits unpacks to. */
function unpackedLength(bytes: Uint8Array, start: number, end: number): number {
  let length = 0;
  for (let at = start; at < end; ) {
    const count = bytes[at]!;
    if (count < 128) {
      length += Math.min(count + 1, end - at - 1);
      at += count + 2;
    } else {
      if (count > 128 && at + 1 < end) length += 257 - count;
      at += count === 128 ? 1 : 2;
    }
  }
  return length;
}

interface StreamSize {
  readonly rows: number;
  readonly columns: number;
  readonly components: number;
  readonly precision: number;
}

function checkSize(facts: ScorableFacts, stream: StreamSize): void {
  const { rows, columns, bitsAllocated, bitsStored } = facts;
  if (stream.rows !== rows || stream.columns !== columns || stream.components !== 1) {
    throw new DicomFault(
      `a frame is compressed as ${stream.rows} rows, ${stream.columns} columns, ${stream.components} components; ` +
        `the header says ${rows}, ${columns}, 1`,
    );
  }
  if (stream.precision > bitsAllocated || stream.precision < bitsStored) {
    throw new DicomFault(
      `a frame is compressed with ${stream.precision} bits a sample; the header says ${bitsStored} bits stored ` +
        `in ${bitsAllocated}`,
    );
  }
}

/**
 * A fragment is padded to an even length; some modalities pad it to a multiple of 8 with arbitrary bytes. More bytes than
 * that are another image.
 */
function refuseTrailing(bytes: Uint8Array, end: number): void {
  const rest = bytes.subarray(end);
  if (rest.length > PADDING_MAX && rest.some((byte) => byte !== 0 && byte !== 0xff)) {
    throw new DicomFault(`there are ${rest.length} bytes behind the end of a frame`);
  }
}

function truncated(): Error {
  return new DicomFault('a compressed frame is truncated');
}
