/** Encoded images to stored values: PNG and JPEG, grey to the exact value, colour as luminance. */
import sharp from 'sharp';
import { SaladError } from '../errors/index.js';

export interface DecodeLimits {
  /** Largest rows * columns that is decompressed. */
  readonly maxPixels: number;
  /** Told how many bytes decompression will take at most, before it begins; it may throw. */
  readonly reserve?: (bytes: number) => void;
}

export interface DecodedImage {
  readonly rows: number;
  readonly columns: number;
  readonly bitsAllocated: 8 | 16;
  readonly bitsStored: number;
  /** [rows, columns] grey values, row by row; 16-bit samples are little-endian. */
  readonly samples: Uint8Array;
}

const PNG_SIGNATURE = [0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a];
const JPEG_SIGNATURE = [0xff, 0xd8, 0xff];

/**
 * Decodes a PNG or JPEG of 8 or 16 bits. No colour management and no EXIF rotation: a radiograph's grey values
 * are stored values. Transparent pixels are blended over black; colour becomes Rec. 601 luminance, which leaves
 * grey stored as RGB unchanged.
 * @throws SaladError IMAGE_UNREADABLE for another format, a corrupt or a truncated file; IMAGE_TOO_LARGE from the
 *   header alone, before anything is decompressed
 */
export async function decodeImage(bytes: Uint8Array, limits: DecodeLimits): Promise<DecodedImage> {
  // libvips would recognise dozens of formats, SVG among them: only two loaders ever see a client's bytes.
  if (!startsWith(bytes, PNG_SIGNATURE) && !startsWith(bytes, JPEG_SIGNATURE)) {
    throw new SaladError('IMAGE_UNREADABLE', 'the image is neither PNG nor JPEG');
  }
  const options = { failOn: 'error', ignoreIcc: true, limitInputPixels: false } as const;
  const metadata = await readable(() => sharp(bytes, options).metadata());
  const { width, height } = metadata;
  if (width * height > limits.maxPixels) {
    throw new SaladError(
      'IMAGE_TOO_LARGE',
      `${width} x ${height} pixels exceed the limit of ${limits.maxPixels} pixels`,
    );
  }
  const isWide = metadata.depth === 'ushort';
  // All channels as they come out of libvips (grey with alpha as four), and the grey made of them.
  const channels = metadata.channels === 1 ? 1 : 4;
  limits.reserve?.(width * height * (channels + 1) * (isWide ? 2 : 1));
  const { data, info } = await readable(() =>
    sharp(bytes, options)
      // Naming the space it is already in keeps libvips from converting to 8-bit sRGB.
      .toColourspace(outputSpace(metadata.space, metadata.hasAlpha, isWide))
      .raw({ depth: isWide ? 'ushort' : 'uchar' })
      .toBuffer({ resolveWithObject: true }),
  );
  const count = info.width * info.height;
  const values = isWide ? new Uint16Array(data.buffer, data.byteOffset, count * info.channels) : data;
  const grey = toGrey(values, count, info.channels, isWide ? 65_535 : 255);
  return {
    rows: info.height,
    columns: info.width,
    bitsAllocated: isWide ? 16 : 8,
    bitsStored: isWide ? 16 : 8,
    samples: new Uint8Array(grey.buffer, grey.byteOffset, grey.byteLength),
  };
}

function startsWith(bytes: Uint8Array, signature: readonly number[]): boolean {
  return signature.every((value, i) => bytes[i] === value);
}

/** Raw output in 'b-w' would drop alpha unseen: grey with alpha goes out as RGB with alpha, its values unchanged. */
function outputSpace(space: string, hasAlpha: boolean, isWide: boolean): 'grey16' | 'rgb16' | 'b-w' | 'srgb' {
  const isGrey = (space === 'b-w' || space === 'grey16') && !hasAlpha;
  if (isWide) return isGrey ? 'grey16' : 'rgb16';
  return isGrey ? 'b-w' : 'srgb';
}

/** Interleaved channels (grey, RGB, either with alpha) to grey over black, rounded to the nearest. */
function toGrey(
  values: Uint8Array | Uint16Array,
  count: number,
  channels: number,
  largest: number,
): Uint8Array | Uint16Array {
  if (channels === 1) return values;
  const grey = largest > 255 ? new Uint16Array(count) : new Uint8Array(count);
  const isColour = channels >= 3;
  const hasAlpha = channels === 2 || channels === 4;
  for (let i = 0, at = 0; i < count; i++, at += channels) {
    let value = values[at]!;
    if (isColour) value = 0.299 * value + 0.587 * values[at + 1]! + 0.114 * values[at + 2]!;
    if (hasAlpha) value = (value * values[at + channels - 1]!) / largest;
    grey[i] = Math.floor(value + 0.5);
  }
  return grey;
}

async function readable<T>(action: () => Promise<T>): Promise<T> {
  try {
    return await action();
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    throw new SaladError('IMAGE_UNREADABLE', `the image cannot be decoded: ${message}`, { cause: error });
  }
}
