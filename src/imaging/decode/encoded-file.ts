/** Reads the headers of an encoded file and checks that it is complete, without decompressing it. */
import { SaladError } from '../../errors/index.js';
import { inTurns } from '../../util/turns.js';
import { checkImageSize } from '../pixel-format/pixel-format.js';
import { isJpeg, isPng } from './damage.js';
import { checkJpeg, jpegHeader } from './jpeg-file.js';
import { checkPngData, type PngHeader, pngCheckBytes, pngChunks, pngHeader } from './png-file.js';

export interface EncodedFile {
  readonly rows: number;
  readonly columns: number;
  /** Whether samples have 16 bits; otherwise they have 8. */
  readonly isWide: boolean;
  readonly channels: 'grey' | 'greyAlpha' | 'rgb' | 'rgbAlpha' | 'cmyk';
  /** Bytes that the check and the decoder need besides the decoded samples. */
  readonly decoderBytes: number;
  /** Reads the whole file. @throws ImageDamage; the reason of the signal where it aborts */
  check(): Promise<void>;
}

/** Buffers of both decoders that do not depend on the number of rows: lines, Huffman tables, zlib's window. */
const DECODER_BYTES = 2 * 1024 * 1024;
/** Most rows that libvips buffers between the decoder and its output; measured in test/slow/decode-memory.test.ts. */
const ROWS_BUFFERED = 320;

/**
 * Reads the headers.
 * @param formats the formats that the caller accepts, for the error message
 * @throws SaladError IMAGE_UNREADABLE where it is neither PNG nor JPEG, IMAGE_TOO_LARGE; ImageDamage; the reason of
 *   `signal` where it aborts
 */
export async function readEncodedFile(
  bytes: Uint8Array,
  maxPixels: number,
  signal?: AbortSignal,
  formats = 'PNG nor JPEG nor DICOM',
): Promise<EncodedFile> {
  // libvips would recognise dozens of formats, including SVG: only its loaders of PNG and JPEG may read a client's bytes.
  if (isPng(bytes)) return readPng(bytes, maxPixels, signal);
  if (isJpeg(bytes)) return readJpeg(bytes, maxPixels, signal);
  if (bytes.length === 0) throw new SaladError('IMAGE_UNREADABLE', 'the file is empty');
  // Those who take DICOM files have looked for one before.
  throw new SaladError('IMAGE_UNREADABLE', `the file is neither ${formats}`);
}

async function readPng(bytes: Uint8Array, maxPixels: number, signal?: AbortSignal): Promise<EncodedFile> {
  const header = pngHeader(bytes);
  checkImageSize(header.rows, header.columns, maxPixels);
  const { data, hasTransparency } = await inTurns(pngChunks(bytes), signal);
  const channels = pngChannels(header, hasTransparency);
  const isWide = header.bitDepth === 16;
  const rowBytes =
    header.columns * (isWide ? 2 : 1) * { grey: 1, greyAlpha: 4, rgb: 3, rgbAlpha: 4 }[channels];
  return {
    rows: header.rows,
    columns: header.columns,
    isWide,
    channels,
    // The last pass of Adam7 completes the rows, so libvips keeps the whole image.
    decoderBytes:
      DECODER_BYTES +
      pngCheckBytes(header) +
      rowBytes * (header.isInterlaced ? header.rows : bufferedRows(header.rows)),
    check: () => checkPngData(header, data, signal),
  };
}

/** Channels of libvips: palettes are decoded as colour, transparency as a channel. */
function pngChannels(
  { colourType }: PngHeader,
  hasTransparency: boolean,
): 'grey' | 'greyAlpha' | 'rgb' | 'rgbAlpha' {
  const isGrey = colourType === 0 || colourType === 4;
  const hasAlpha = colourType === 4 || colourType === 6 || hasTransparency;
  if (isGrey) return hasAlpha ? 'greyAlpha' : 'grey';
  return hasAlpha ? 'rgbAlpha' : 'rgb';
}

async function readJpeg(bytes: Uint8Array, maxPixels: number, signal?: AbortSignal): Promise<EncodedFile> {
  const { rows, columns, channels, hasManyScans, paddedSamples } = await inTurns(jpegHeader(bytes), signal);
  checkImageSize(rows, columns, maxPixels);
  // All coefficients as int16, and 64 bits of the check for each 64 of them.
  const coefficients = hasManyScans ? paddedSamples * 2 + paddedSamples / 8 : 0;
  return {
    rows,
    columns,
    isWide: false,
    channels: channels === 1 ? 'grey' : channels === 3 ? 'rgb' : 'cmyk',
    decoderBytes: DECODER_BYTES + columns * channels * bufferedRows(rows) + coefficients,
    check: () => inTurns(checkJpeg(bytes), signal),
  };
}

function bufferedRows(rows: number): number {
  return Math.min(rows, ROWS_BUFFERED);
}
