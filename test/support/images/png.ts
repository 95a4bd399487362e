/** PNG files written by hand (PNG specification, third edition), so that the decoder is not tested against itself. */
import { crc32, deflateSync } from 'node:zlib';

/** PNG colour types. */
export const GREY = 0;
export const RGB = 2;
export const PALETTE = 3;
export const GREY_ALPHA = 4;
export const RGBA = 6;
const CHANNELS: Record<number, number> = { [GREY]: 1, [RGB]: 3, [PALETTE]: 1, [GREY_ALPHA]: 2, [RGBA]: 4 };
/** First column and row, column and row step of each pass. */
const ADAM7 = [
  [0, 0, 8, 8],
  [4, 0, 8, 8],
  [0, 4, 4, 8],
  [2, 0, 4, 4],
  [0, 2, 2, 4],
  [1, 0, 2, 2],
  [0, 1, 1, 2],
] as const;

export interface PngParts {
  readonly rows: number;
  readonly columns: number;
  readonly bits: 8 | 16;
  readonly colourType: number;
  /** Interleaved channel values, row by row. */
  readonly values: readonly number[];
  readonly isInterlaced?: boolean;
  /** Chunks between IHDR and IDAT. */
  readonly chunks?: readonly (readonly [string, Uint8Array])[];
  /** Chunks between IDAT and IEND. */
  readonly chunksBehind?: readonly (readonly [string, Uint8Array])[];
  /** What becomes of the compressed data before they are put into chunks. */
  readonly compressed?: (data: Buffer) => readonly Uint8Array[];
}

export function png(parts: PngParts): Buffer {
  const { rows, columns, bits, colourType, isInterlaced = false, chunks = [], chunksBehind = [] } = parts;
  const header = Buffer.alloc(13);
  header.writeUInt32BE(columns, 0);
  header.writeUInt32BE(rows, 4);
  header.set([bits, colourType, 0, 0, isInterlaced ? 1 : 0], 8);
  const data = deflateSync(isInterlaced ? interlaced(parts) : scanlines(parts, parts.values, columns));
  const pieces = parts.compressed?.(data) ?? [data];
  const all = [
    ['IHDR', header],
    ...chunks,
    ...pieces.map((piece) => ['IDAT', piece] as const),
    ...chunksBehind,
    ['IEND', new Uint8Array(0)],
  ] as const;
  return Buffer.concat([Buffer.from('89504e470d0a1a0a', 'hex'), ...all.map(([t, d]) => chunk(t, d))]);
}

export function chunk(type: string, data: Uint8Array): Buffer {
  const body = Buffer.concat([Buffer.from(type, 'latin1'), data]);
  const out = Buffer.alloc(body.length + 8);
  out.writeUInt32BE(data.length, 0);
  out.set(body, 4);
  out.writeUInt32BE(crc32(body), body.length + 4);
  return out;
}

/** As many rows as there are values for: the header may promise more. */
function scanlines({ bits, colourType }: PngParts, values: readonly number[], columns: number): Buffer {
  const perRow = columns * CHANNELS[colourType]!;
  const raw = Buffer.alloc(Math.ceil(values.length / perRow) + (values.length * bits) / 8);
  let at = 0;
  for (const [i, value] of values.entries()) {
    if (i % perRow === 0) at++;
    at = bits === 8 ? raw.writeUInt8(value, at) : raw.writeUInt16BE(value, at);
  }
  return raw;
}

function interlaced(parts: PngParts): Buffer {
  const { rows, columns, colourType, values } = parts;
  const channels = CHANNELS[colourType]!;
  const passes = ADAM7.map(([left, top, across, down]) => {
    const pass: number[] = [];
    for (let y = top; y < rows; y += down) {
      for (let x = left; x < columns; x += across) {
        const at = (y * columns + x) * channels;
        pass.push(...values.slice(at, at + channels));
      }
    }
    const width = Math.ceil((columns - left) / across);
    return pass.length === 0 ? Buffer.alloc(0) : scanlines(parts, pass, width);
  });
  return Buffer.concat(passes);
}
