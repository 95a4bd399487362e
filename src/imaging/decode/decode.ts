/** Decodes PNG and JPEG to stored values: grey values exactly, colour as luminance. */
import { SaladError } from '../../errors/index.js';
import type { Places } from '../../util/places.js';
import { inTurns } from '../../util/turns.js';
import { loadSharp } from '../libvips.js';
import { ImageDamage } from './damage.js';
import { type EncodedFile, readEncodedFile } from './encoded-file.js';

export interface DecodeLimits {
  /** Largest rows * columns that is decompressed. */
  readonly maxPixels: number;
  /** The formats that the caller accepts, for the error message about another one. @default `PNG nor JPEG nor DICOM` */
  readonly formats?: string;
  /** Called with the most bytes of check and decompression, before they begin; may throw. */
  readonly reserve?: (bytes: number) => void;
  /** Of images that are decompressed at once, in native threads; absent: the image does not wait for one. */
  readonly places?: Places;
  /**
   * Aborts the work: at once while the image waits or is checked. A decompression that has begun is not interrupted and
   * takes about a second for the largest image. The promise settles only after it, because the memory is in use until then.
   */
  readonly signal?: AbortSignal;
}

export interface DecodedImage {
  readonly rows: number;
  readonly columns: number;
  readonly bitsAllocated: 8 | 16;
  readonly bitsStored: number;
  /** [rows, columns] grey values, row by row; 16-bit samples are little-endian. */
  readonly samples: Uint8Array;
}

/**
 * Decodes a PNG or JPEG of 8 or 16 bits. No colour management and no EXIF rotation: a radiograph's grey values are
 * stored values. Transparent pixels are blended over black; colour is converted to Rec. 601 luminance, which leaves grey
 * stored as RGB unchanged; ink (CMYK) c and k is converted to (1 - c)(1 - k) first.
 *
 * The whole file is checked before it is decompressed: checksums, lengths, codes, and that all pixels are present
 * (encoded-file.ts); a warning of the decoder is an error. Bytes after the end of the image are ignored.
 * @throws SaladError IMAGE_UNREADABLE for another format, several images in one file, a corrupt or a truncated file;
 *   IMAGE_TOO_LARGE from the header alone, before anything is decompressed; the reason of `signal` where it aborts
 */
export async function decodeImage(bytes: Uint8Array, limits: DecodeLimits): Promise<DecodedImage> {
  const { maxPixels, reserve, places, signal, formats } = limits;
  const file = await readable(() => readEncodedFile(bytes, maxPixels, signal, formats), signal);
  const releasePlace = await places?.enter(signal);
  try {
    reserve?.(decodingBytes(file));
    await readable(() => file.check(), signal);
    return await decompress(bytes, file, signal);
  } finally {
    releasePlace?.();
  }
}

/**
 * Most bytes that check and decompression need at once: the buffers of the decoder, all decoded channels, and the grey
 * values computed from them.
 */
export function decodingBytes(file: EncodedFile): number {
  const pixels = file.rows * file.columns;
  const sampleBytes = file.isWide ? 2 : 1;
  const channels = outputChannels(file);
  const grey = channels > 1 ? pixels * sampleBytes : 0;
  return file.decoderBytes + pixels * channels * sampleBytes + grey;
}

async function decompress(
  bytes: Uint8Array,
  file: EncodedFile,
  signal: AbortSignal | undefined,
): Promise<DecodedImage> {
  const { isWide, rows, columns } = file;
  const options = { failOn: 'warning', ignoreIcc: true, limitInputPixels: false } as const;
  const sharp = await loadSharp();
  const { data, info } = await readable(() => {
    const image = sharp(bytes, options);
    // Without this libvips would convert CMYK by its own colour profile.
    if (file.channels === 'cmyk') image.pipelineColourspace('cmyk');
    return (
      image
        // The image has this space already; without the call libvips would convert it to 8-bit sRGB.
        .toColourspace(outputSpace(file))
        .raw({ depth: isWide ? 'ushort' : 'uchar' })
        .toBuffer({ resolveWithObject: true })
    );
  }, signal);
  if (info.height !== rows || info.width !== columns || info.channels !== outputChannels(file)) {
    throw new SaladError(
      'INTERNAL',
      `decoded to ${info.width} x ${info.height} x ${info.channels}, not to ${columns} x ${rows} x ${outputChannels(file)}`,
    );
  }
  const count = rows * columns;
  const values = isWide ? new Uint16Array(data.buffer, data.byteOffset, count * info.channels) : data;
  const grey =
    info.channels === 1
      ? values
      : await inTurns(toGrey(values, count, greyOf(file.channels, isWide)), signal);
  return {
    rows,
    columns,
    bitsAllocated: isWide ? 16 : 8,
    bitsStored: isWide ? 16 : 8,
    samples: new Uint8Array(grey.buffer, grey.byteOffset, grey.byteLength),
  };
}

/** Raw output in 'b-w' would drop alpha without an error, so grey with alpha is decoded as RGB with alpha, values unchanged. */
function outputSpace({ channels, isWide }: EncodedFile): 'grey16' | 'rgb16' | 'b-w' | 'srgb' | 'cmyk' {
  if (channels === 'cmyk') return 'cmyk';
  if (isWide) return channels === 'grey' ? 'grey16' : 'rgb16';
  return channels === 'grey' ? 'b-w' : 'srgb';
}

function outputChannels({ channels }: EncodedFile): 1 | 3 | 4 {
  if (channels === 'grey') return 1;
  return channels === 'rgb' ? 3 : 4;
}

/** Pixels converted in one step: about a millisecond. */
const PIXELS_PER_STEP = 256 * 1024;

/** Converts interleaved channels to grey, rounded to the nearest value. */
function* toGrey(
  values: Uint8Array | Uint16Array,
  count: number,
  { channels, greyAt }: GreyOf,
): Generator<void, Uint8Array | Uint16Array> {
  const grey = values instanceof Uint16Array ? new Uint16Array(count) : new Uint8Array(count);
  for (let first = 0; first < count; first += PIXELS_PER_STEP) {
    const end = Math.min(count, first + PIXELS_PER_STEP);
    for (let i = first; i < end; i++) grey[i] = Math.floor(greyAt(values, channels * i) + 0.5);
    yield;
  }
  return grey;
}

interface GreyOf {
  readonly channels: 3 | 4;
  /** Grey of the pixel whose channels begin at `at`. */
  readonly greyAt: (values: Uint8Array | Uint16Array, at: number) => number;
}

/** Luminance (Rec. 601): transparent pixels over black, ink on white paper. */
function greyOf(channels: EncodedFile['channels'], isWide: boolean): GreyOf {
  if (channels === 'rgb') return { channels: 3, greyAt: luminance };
  const largest = isWide ? 65_535 : 255;
  if (channels !== 'cmyk') {
    return { channels: 4, greyAt: (values, at) => (luminance(values, at) * values[at + 3]!) / largest };
  }
  // Cyan, magenta and yellow absorb red, green and blue; black absorbs its share of the remaining light.
  return {
    channels: 4,
    greyAt: (ink, at) => ((255 - luminance(ink, at)) * (255 - ink[at + 3]!)) / 255,
  };
}

function luminance(values: ArrayLike<number>, at: number): number {
  return 0.299 * values[at]! + 0.587 * values[at + 1]! + 0.114 * values[at + 2]!;
}

/** Converts errors of decoders to IMAGE_UNREADABLE. A SaladError and the reason of an abort are not converted. */
async function readable<T>(action: () => Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  try {
    const result = await action();
    signal?.throwIfAborted();
    return result;
  } catch (error) {
    signal?.throwIfAborted();
    if (error instanceof SaladError) throw error;
    if (error instanceof ImageDamage) {
      throw new SaladError('IMAGE_UNREADABLE', `the image cannot be read: ${error.message}`, {
        cause: error,
      });
    }
    const message = error instanceof Error ? error.message : String(error);
    throw new SaladError('IMAGE_UNREADABLE', `the image cannot be decoded: ${message}`, { cause: error });
  }
}
