/** Limits of time and memory for a decoder process, by the size of the file and the image. */
import type { DicomFacts } from '../facts.js';

const MIB = 1024 * 1024;

/** For the code of codecs, and a reserve. */
const BASE_BYTES = 128 * MIB;
/** The file, a copy while it is received, and a copy of its pixels. */
const BYTES_PER_FILE_BYTE = 4;
/** About twice the need of JPEG 2000, which needs the most: 11 bytes per pixel. */
const BYTES_PER_PIXEL = 20;
/** A deflated file may inflate to an image of the largest size, of which two copies exist at the same time. */
const INFLATED_BYTES_PER_PIXEL = 4;

const BASE_MS = 10_000;
/** Ten times the time of the slowest codec on an idle processor. */
const MS_PER_PIXEL = 0.001;
const MS_PER_FILE_BYTE = 0.0001;

export interface DecodingLimits {
  /** How much the process may grow. */
  readonly growthBytesMax: number;
  readonly deadlineMs: number;
}

/** Limits for reading a header. */
export function openLimits(fileBytes: number, maxPixels: number): DecodingLimits {
  return {
    growthBytesMax: BASE_BYTES + BYTES_PER_FILE_BYTE * fileBytes + INFLATED_BYTES_PER_PIXEL * maxPixels,
    deadlineMs: BASE_MS + MS_PER_FILE_BYTE * fileBytes,
  };
}

/** Limits for decoding a frame. */
export function frameLimits(fileBytes: number, facts: DicomFacts): DecodingLimits {
  const pixels = pixelsOf(facts);
  return {
    growthBytesMax: BASE_BYTES + BYTES_PER_FILE_BYTE * fileBytes + BYTES_PER_PIXEL * pixels,
    deadlineMs: BASE_MS + MS_PER_PIXEL * pixels,
  };
}

/** Bytes needed to decode a frame, in both processes together, without the file itself. */
export function decodingBytes(facts: DicomFacts): number {
  return pixelsOf(facts) * (BYTES_PER_PIXEL + (facts.bitsAllocated ?? 16) / 8);
}

function pixelsOf({ rows, columns }: DicomFacts): number {
  return (rows ?? 0) * (columns ?? 0);
}

/**
 * Codecs never free their memory. A process that uses more memory than this is ended when its file is closed; after 14
 * million pixels of JPEG 2000 it uses less.
 */
export const KEPT_BYTES_MAX = 288 * MIB;
