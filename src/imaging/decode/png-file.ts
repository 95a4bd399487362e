/**
 * Reads a PNG file by its chunks (PNG specification, third edition): size and kind from its header, and a check of the whole
 * file: every checksum, and every byte of pixel data.
 */
import { pipeline } from 'node:stream/promises';
import { createInflate, type Inflate, inflate } from 'node:zlib';
import { crc32 } from '@node-rs/crc32';
import { checkNoSecondImage, ImageDamage, isPng } from './damage.js';

const SIGNATURE_BYTES = 8;
/** Size of the buffers of inflated bytes. */
const BUFFER_BYTES = 256 * 1024;
/** Pixel data up to this size is inflated in one call. */
const AT_ONCE_BYTES = 1024 * 1024;
/** Most bytes of buffers that are not garbage-collected yet. */
const UNCOLLECTED_BYTES = 16 * 1024 * 1024;
/** Bytes of checksums, and chunks, in one step. */
const BYTES_PER_STEP = 8 * 1024 * 1024;
const CHUNKS_PER_STEP = 1000;
/** Encoders write chunks of 8 KiB or more; millions of tiny chunks would take more time than the pixels. */
const CHUNKS_MAX = 100_000;
/** Samples per pixel, and bit depths, of each colour type. */
const COLOUR_TYPES: Readonly<Record<number, { samples: number; depths: readonly number[] }>> = {
  0: { samples: 1, depths: [1, 2, 4, 8, 16] },
  2: { samples: 3, depths: [8, 16] },
  3: { samples: 1, depths: [1, 2, 4, 8] },
  4: { samples: 2, depths: [8, 16] },
  6: { samples: 4, depths: [8, 16] },
};
const PALETTE = 3;
/** First column and row, column and row step of each pass of Adam7. */
const ADAM7 = [
  [0, 0, 8, 8],
  [4, 0, 8, 8],
  [0, 4, 4, 8],
  [2, 0, 4, 4],
  [0, 2, 2, 4],
  [1, 0, 2, 2],
  [0, 1, 1, 2],
] as const;

export interface PngHeader {
  readonly rows: number;
  readonly columns: number;
  readonly bitDepth: number;
  readonly colourType: number;
  readonly isInterlaced: boolean;
}

/** @throws ImageDamage where the first chunk is not the header of a PNG */
export function pngHeader(bytes: Uint8Array): PngHeader {
  if (!isPng(bytes)) throw new ImageDamage('it has no PNG signature');
  const { type, data, checked, checksum } = chunkAt(bytes, SIGNATURE_BYTES);
  if (type !== 'IHDR' || data.length !== 13) throw new ImageDamage('it has no header');
  if (crc32(checked) !== checksum) throw new ImageDamage('the checksum of chunk IHDR is wrong');
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
  const columns = view.getUint32(0);
  const rows = view.getUint32(4);
  const [bitDepth, colourType, compression, filter, interlace] = [8, 9, 10, 11, 12].map((at) => data[at]!);
  const depths = COLOUR_TYPES[colourType!]?.depths ?? [];
  const isKnown = depths.includes(bitDepth!) && compression === 0 && filter === 0 && interlace! <= 1;
  if (!isKnown || rows === 0 || columns === 0 || Math.max(rows, columns) > 2 ** 31 - 1) {
    throw new ImageDamage('its header is wrong');
  }
  return { rows, columns, bitDepth: bitDepth!, colourType: colourType!, isInterlaced: interlace === 1 };
}

/** The content of the chunks that matter for the pixels. */
export interface PngChunks {
  /** The compressed pixel data. */
  readonly data: readonly Uint8Array[];
  /** Whether there is transparency besides the pixels (tRNS). */
  readonly hasTransparency: boolean;
}

/**
 * Reads all chunks.
 * @throws ImageDamage where a checksum is wrong, a chunk is cut off, missing or out of order, the file contains several
 *   images (APNG), or another image follows its end
 */
export function* pngChunks(bytes: Uint8Array): Generator<void, PngChunks> {
  const { colourType } = pngHeader(bytes);
  const data: Uint8Array[] = [];
  const seen = new Set<string>();
  let last = '';
  let at = SIGNATURE_BYTES;
  for (let count = 1; last !== 'IEND'; count++) {
    const chunk = chunkAt(bytes, at);
    at += 12 + chunk.data.length;
    const { type } = chunk;
    if ((yield* checksum(chunk.checked)) !== chunk.checksum) {
      throw new ImageDamage(`the checksum of chunk ${type} is wrong`);
    }
    checkOrder(type, last, seen, colourType);
    if (type === 'IDAT') data.push(chunk.data);
    seen.add(type);
    last = type;
    if (count === CHUNKS_MAX) throw new ImageDamage(`it has more than ${CHUNKS_MAX} chunks`);
    if (count % CHUNKS_PER_STEP === 0) yield;
  }
  if (data.length === 0) throw new ImageDamage('it has no pixel data');
  checkNoSecondImage(bytes, at);
  return { data, hasTransparency: seen.has('tRNS') };
}

/**
 * Inflates the pixel data without keeping it. It must be complete and have the length according to the header.
 * @throws ImageDamage; the reason of `signal` where it aborts
 */
export async function checkPngData(
  header: PngHeader,
  data: readonly Uint8Array[],
  signal?: AbortSignal,
): Promise<void> {
  const expected = inflatedBytes(header);
  const compressed = data.reduce((sum, { length }) => sum + length, 0);
  try {
    const inflated =
      expected <= AT_ONCE_BYTES
        ? await inflateAtOnce(data, expected)
        : await inflateInSteps(data, expected, signal);
    if (inflated.bytes < expected) throw new ImageDamage('it has less pixel data than its header says');
    if (inflated.read < compressed) throw new ImageDamage('other data follow its pixel data');
  } catch (error) {
    signal?.throwIfAborted();
    if (error instanceof ImageDamage) throw error;
    throw new ImageDamage(`its pixel data cannot be inflated: ${(error as Error).message}`);
  }
}

interface Inflated {
  /** Number of inflated bytes. */
  readonly bytes: number;
  /** Number of compressed bytes that were read for them. */
  readonly read: number;
}

/** Inflates in one task of the thread pool: for a small image several tasks would double the cost. */
function inflateAtOnce(data: readonly Uint8Array[], expected: number): Promise<Inflated> {
  // One byte more, so that excess data is detected, and the end of the stream is reached in the same task.
  const options = { chunkSize: Math.max(64, expected + 1), maxOutputLength: expected, info: true };
  return new Promise((resolve, reject) => {
    inflate(Buffer.concat(data), options, (error, result) => {
      if (error === null) {
        const { buffer, engine } = result as unknown as { buffer: Buffer; engine: Inflate };
        resolve({ bytes: buffer.length, read: engine.bytesWritten });
      } else if ((error as NodeJS.ErrnoException).code === 'ERR_BUFFER_TOO_LARGE') reject(tooLong());
      else reject(error);
    });
  });
}

async function inflateInSteps(
  data: readonly Uint8Array[],
  expected: number,
  signal: AbortSignal | undefined,
): Promise<Inflated> {
  const engine = createInflate({ chunkSize: BUFFER_BYTES });
  let bytes = 0;
  const count = async (buffers: AsyncIterable<Uint8Array>) => {
    for await (const buffer of buffers) {
      bytes += buffer.length;
      if (bytes > expected) throw tooLong();
    }
  };
  await pipeline(joined(data), engine, count, signal === undefined ? {} : { signal });
  return { bytes, read: engine.bytesWritten };
}

function tooLong(): ImageDamage {
  return new ImageDamage('it has more pixel data than its header says');
}

/** Joins small chunks, because each buffer is inflated in a task of the thread pool. */
function* joined(data: readonly Uint8Array[]): Generator<Uint8Array> {
  let chunks: Uint8Array[] = [];
  let bytes = 0;
  for (const chunk of data) {
    chunks.push(chunk);
    bytes += chunk.length;
    if (bytes < BUFFER_BYTES) continue;
    yield chunks.length === 1 ? chunk : Buffer.concat(chunks);
    chunks = [];
    bytes = 0;
  }
  yield Buffer.concat(chunks);
}

/** Most bytes of memory that `checkPngData` needs. */
export function pngCheckBytes(header: PngHeader): number {
  return Math.min(inflatedBytes(header), UNCOLLECTED_BYTES);
}

/** Inflated bytes of all rows, each with its filter byte; an interlaced image consists of seven smaller images. */
function inflatedBytes({ rows, columns, bitDepth, colourType, isInterlaced }: PngHeader): number {
  const bits = bitDepth * COLOUR_TYPES[colourType]!.samples;
  const size = (height: number, width: number): number =>
    width > 0 && height > 0 ? height * (1 + Math.ceil((width * bits) / 8)) : 0;
  if (!isInterlaced) return size(rows, columns);
  const passes = ADAM7.map(([left, top, across, down]) =>
    size(Math.ceil((rows - top) / down), Math.ceil((columns - left) / across)),
  );
  return passes.reduce((sum, bytes) => sum + bytes, 0);
}

interface Chunk {
  readonly type: string;
  readonly data: Uint8Array;
  /** The bytes that the checksum covers: type and data. */
  readonly checked: Uint8Array;
  readonly checksum: number;
}

function chunkAt(bytes: Uint8Array, at: number): Chunk {
  if (at + 12 > bytes.length) throw new ImageDamage('it is cut off');
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const length = view.getUint32(at);
  const type = String.fromCharCode(...bytes.subarray(at + 4, at + 8));
  if (!/^[A-Za-z]{4}$/.test(type)) throw new ImageDamage('a chunk has no type');
  const end = at + 8 + length;
  if (end + 4 > bytes.length) throw new ImageDamage(`it is cut off in chunk ${type}`);
  return {
    type,
    data: bytes.subarray(at + 8, end),
    checked: bytes.subarray(at + 4, end),
    checksum: view.getUint32(end),
  };
}

function* checksum(bytes: Uint8Array): Generator<void, number> {
  let value = 0;
  for (let from = 0; from < bytes.length; from += BYTES_PER_STEP) {
    value = crc32(bytes.subarray(from, from + BYTES_PER_STEP), value);
    if (bytes.length > BYTES_PER_STEP) yield;
  }
  return value;
}

/** Checks the order of the chunks that matter for the pixels (section 5.6). @throws ImageDamage */
function checkOrder(type: string, last: string, seen: ReadonlySet<string>, colourType: number): void {
  if (last === '' && type !== 'IHDR') throw new ImageDamage('it has no header');
  switch (type) {
    case 'IDAT':
      if (seen.has('IDAT') && last !== 'IDAT') throw new ImageDamage('its pixel data are not in one run');
      if (colourType === PALETTE && !seen.has('PLTE')) throw new ImageDamage('it has no palette');
      return;
    case 'IEND':
      return;
    case 'IHDR':
    case 'PLTE':
    case 'tRNS':
      if (seen.has(type) || seen.has('IDAT')) throw new ImageDamage(`chunk ${type} is out of place`);
      return;
    case 'acTL':
      throw new ImageDamage('an animation holds several images; one is scored at a time');
    default:
      // An upper-case first letter marks a critical chunk; a decoder must not ignore an unknown one.
      if (/^[A-Z]/.test(type)) throw new ImageDamage(`it has an unknown critical chunk ${type}`);
  }
}
