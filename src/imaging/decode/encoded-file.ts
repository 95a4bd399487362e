/** An encoded file before it is decompressed: what its headers say, and whether all of it is there. */
import { SaladError } from '../../errors/index.js';
import { checkImageSize } from '../pixel-format.js';
import { inTurns } from '../turns.js';
import { isJpeg, isPng } from './damage.js';
import { checkJpeg, jpegHeader } from './jpeg-file.js';
import { checkPngData, type PngHeader, pngCheckBytes, pngChunks, pngHeader } from './png-file.js';

export interface EncodedFile {
  readonly rows: number;
  readonly columns: number;
  /** Samples of 16 bits; else of 8. */
  readonly isWide: boolean;
  readonly channels: 'grey' | 'greyAlpha' | 'rgb' | 'rgbAlpha' | 'cmyk';
  /** What the check and the decoder hold of the image beside the samples that come out. */
  readonly decoderBytes: number;
  /** Reads the whole file. @throws ImageDamage; the reason of the signal where it aborts */
  check(): Promise<void>;
}

/** Buffers of both decoders that do not grow with the rows: lines, Huffman tables, zlib's window. */
const DECODER_BYTES = 2 * 1024 * 1024;
/** Rows that libvips holds between the decoder and its output at most; measured, test/slow/decode-memory.test.ts. */
const ROWS_BUFFERED = 320;

/**
 * @param formats those that the caller takes, for the message
 * @throws SaladError IMAGE_UNREADABLE where it is neither PNG nor JPEG, IMAGE_TOO_LARGE; ImageDamage; the reason of
 *   `signal` where it aborts
 */
export async function readEncodedFile(
  bytes: Uint8Array,
  maxPixels: number,
  signal?: AbortSignal,
  formats = 'PNG nor JPEG nor DICOM',
): Promise<EncodedFile> {
  // libvips would recognise dozens of formats, SVG among them: only two loaders ever see a client's bytes.
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
    // Adam7 gives its last rows last: libvips keeps the whole image.
    decoderBytes:
      DECODER_BYTES +
      pngCheckBytes(header) +
      rowBytes * (header.isInterlaced ? header.rows : bufferedRows(header.rows)),
    check: () => checkPngData(header, data, signal),
  };
}

/** Channels that libvips gives: palettes become colour, transparency a channel of its own. */
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
  // All coefficients as int16, and our 64 bits for each 64 of them.
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
