/** Writes DICOM files (PS3.5, PS3.10) for tests and benchmarks, in every transfer syntax that the codecs can encode. */
import { createRequire } from 'node:module';
import { deflateRawSync } from 'node:zlib';

export const SYNTAX = {
  implicit: '1.2.840.10008.1.2',
  explicit: '1.2.840.10008.1.2.1',
  deflated: '1.2.840.10008.1.2.1.99',
  bigEndian: '1.2.840.10008.1.2.2',
  jpegBaseline: '1.2.840.10008.1.2.4.50',
  jpegExtended: '1.2.840.10008.1.2.4.51',
  jpegLossless: '1.2.840.10008.1.2.4.57',
  jpegLosslessSv1: '1.2.840.10008.1.2.4.70',
  jpegLsLossless: '1.2.840.10008.1.2.4.80',
  jpegLsNear: '1.2.840.10008.1.2.4.81',
  jpeg2000Lossless: '1.2.840.10008.1.2.4.90',
  jpeg2000: '1.2.840.10008.1.2.4.91',
  rle: '1.2.840.10008.1.2.5',
} as const;
export type SyntaxName = keyof typeof SYNTAX;

/** Text (several values joined by `\`), numbers of the value representation, bytes as they are, or items of a sequence. */
export type Value = string | readonly number[] | Uint8Array | readonly Elements[];

/** By tag and value representation, such as `'00280010 US'`. */
export type Elements = Readonly<Record<string, Value>>;

export interface DicomFileOptions {
  readonly syntax?: SyntaxName;
  readonly rows: number;
  readonly columns: number;
  /** Cells of all frames; little-endian where they have 16 bits. */
  readonly cells: Uint8Array | Uint16Array;
  readonly frames?: number;
  readonly bitsStored?: number;
  readonly isSigned?: boolean;
  readonly photometric?: string;
  /** Further elements, or others instead; an empty text leaves one out. */
  readonly elements?: Elements;
  /** Without prefix and file meta information. */
  readonly bare?: boolean;
  /** Fragments of a frame. @default 1 */
  readonly fragments?: number;
  /** @default none, as most modalities */
  readonly offsetTable?: 'basic' | 'none';
  /** Instead of the frames that encoding gives. */
  readonly encoded?: readonly Uint8Array[];
}

const LONG_VRS = new Set(['OB', 'OW', 'SQ', 'UN', 'UT', 'OF']);
const SEQUENCE_END = [0xfe, 0xff, 0xdd, 0xe0, 0, 0, 0, 0];

interface Encoding {
  readonly explicit: boolean;
  readonly bigEndian: boolean;
}

function number16(value: number, bigEndian: boolean): number[] {
  const [low, high] = [value & 0xff, (value >> 8) & 0xff];
  return bigEndian ? [high, low] : [low, high];
}

function number32(value: number, bigEndian: boolean): number[] {
  const bytes = [0, 8, 16, 24].map((shift) => Math.floor(value / 2 ** shift) & 0xff);
  return bigEndian ? bytes.reverse() : bytes;
}

function valueBytes(vr: string, value: Value, encoding: Encoding): Uint8Array {
  if (value instanceof Uint8Array) return even(value, 0);
  if (typeof value === 'string') return even(Buffer.from(value, 'latin1'), vr === 'UI' ? 0 : 0x20);
  if (vr === 'SQ')
    return Buffer.concat((value as readonly Elements[]).map((item) => itemBytes(item, encoding)));
  const numbers = value as readonly number[];
  const write = vr === 'UL' ? number32 : number16;
  return Uint8Array.from(numbers.flatMap((each) => write(each, encoding.bigEndian)));
}

function even(bytes: Uint8Array, padding: number): Uint8Array {
  return bytes.length % 2 === 0 ? bytes : Uint8Array.from([...bytes, padding]);
}

function itemBytes(item: Elements, encoding: Encoding): Uint8Array {
  const body = dataSetBytes(item, encoding);
  const head = [...tagBytes('fffee000', encoding), ...number32(body.length, encoding.bigEndian)];
  return Buffer.concat([Uint8Array.from(head), body]);
}

function tagBytes(tag: string, { bigEndian }: Encoding): number[] {
  return [
    ...number16(Number.parseInt(tag.slice(0, 4), 16), bigEndian),
    ...number16(Number.parseInt(tag.slice(4), 16), bigEndian),
  ];
}

function elementBytes(
  tag: string,
  vr: string,
  body: Uint8Array,
  encoding: Encoding,
  length = body.length,
): Uint8Array {
  const { explicit, bigEndian } = encoding;
  const lengthBytes = !explicit
    ? number32(length, bigEndian)
    : LONG_VRS.has(vr)
      ? [...Buffer.from(vr), 0, 0, ...number32(length, bigEndian)]
      : [...Buffer.from(vr), ...number16(length, bigEndian)];
  return Buffer.concat([Uint8Array.from([...tagBytes(tag, encoding), ...lengthBytes]), body]);
}

export function dataSetBytes(elements: Elements, encoding: Encoding): Uint8Array {
  const entries = Object.entries(elements).sort(([a], [b]) => (a < b ? -1 : 1));
  return Buffer.concat(
    entries
      .filter(([, value]) => value !== '')
      .map(([key, value]) => {
        const [tag, vr] = key.split(' ') as [string, string];
        return elementBytes(tag, vr, valueBytes(vr, value, encoding), encoding);
      }),
  );
}

/** Fragments with their items, and where each frame begins. */
function encapsulated(
  frames: readonly Uint8Array[],
  { fragments = 1, offsetTable = 'none' }: DicomFileOptions,
): Uint8Array {
  const offsets: number[] = [];
  const items: Uint8Array[] = [];
  let offset = 0;
  for (const frame of frames) {
    offsets.push(offset);
    const size = 2 * Math.ceil(frame.length / fragments / 2);
    for (let at = 0; at < frame.length; at += size) {
      const part = even(frame.subarray(at, at + size), 0);
      const head = [0xfe, 0xff, 0x00, 0xe0, ...number32(part.length, false)];
      items.push(Buffer.concat([Uint8Array.from(head), part]));
      offset += 8 + part.length;
    }
  }
  const table = offsetTable === 'basic' ? offsets.flatMap((each) => number32(each, false)) : [];
  const tableItem = [0xfe, 0xff, 0x00, 0xe0, ...number32(table.length, false), ...table];
  const body = Buffer.concat([Uint8Array.from(tableItem), ...items, Uint8Array.from(SEQUENCE_END)]);
  return body;
}

export async function dicomFile(options: DicomFileOptions): Promise<Uint8Array> {
  const { syntax = 'explicit', rows, columns, cells, frames = 1, bare = false } = options;
  const uid = SYNTAX[syntax];
  const encoding = { explicit: syntax !== 'implicit', bigEndian: syntax === 'bigEndian' };
  const bitsAllocated = 8 * cells.BYTES_PER_ELEMENT;
  const { bitsStored = bitsAllocated } = options;
  const header: Elements = {
    '00080016 UI': '1.2.840.10008.5.1.4.1.1.1',
    '00080018 UI': '1.2.3.4.5',
    '00080060 CS': 'CR',
    '00280002 US': [1],
    '00280004 CS': options.photometric ?? 'MONOCHROME2',
    ...(frames === 1 ? {} : { '00280008 IS': String(frames) }),
    '00280010 US': [rows],
    '00280011 US': [columns],
    '00280100 US': [bitsAllocated],
    '00280101 US': [bitsStored],
    '00280102 US': [bitsStored - 1],
    '00280103 US': [options.isSigned ? 1 : 0],
    ...options.elements,
  };
  const bytes = new Uint8Array(cells.buffer, cells.byteOffset, cells.byteLength);
  const isNative = ['implicit', 'explicit', 'deflated', 'bigEndian'].includes(syntax);
  let pixels: Uint8Array;
  if (isNative) {
    const swapped = encoding.bigEndian ? Buffer.from(even(bytes, 0)).swap16() : bytes;
    pixels = elementBytes('7fe00010', 'OW', even(swapped, 0), encoding);
  } else {
    const encoded = options.encoded ?? (await encodeFrames(options));
    pixels = elementBytes('7fe00010', 'OB', encapsulated(encoded, options), encoding, 0xffffffff);
  }
  const body = Buffer.concat([dataSetBytes(header, encoding), pixels]);
  if (bare) return body;
  const meta = dataSetBytes({ '00020010 UI': uid }, { explicit: true, bigEndian: false });
  const length = dataSetBytes({ '00020000 UL': [meta.length] }, { explicit: true, bigEndian: false });
  const prefix = Buffer.concat([Buffer.alloc(128), Buffer.from('DICM')]);
  return Buffer.concat([prefix, length, meta, syntax === 'deflated' ? deflateRawSync(body) : body]);
}

/** A radiograph-like ramp with structure, whose values fill `bits` bits. */
export function testCells(rows: number, columns: number, bits: number, seed = 0): Uint8Array | Uint16Array {
  const cells = bits <= 8 ? new Uint8Array(rows * columns) : new Uint16Array(rows * columns);
  const largest = 2 ** bits - 1;
  for (let y = 0; y < rows; y++) {
    for (let x = 0; x < columns; x++) {
      const ramp = (x + y) / (rows + columns);
      const wave = 0.25 * Math.sin((x + 3 * seed) / 5) * Math.cos(y / 7);
      cells[y * columns + x] = Math.round(Math.min(1, Math.max(0, 0.15 + 0.7 * ramp + wave)) * largest);
    }
  }
  return cells;
}

type Native = typeof import('dcmjs-codecs');
const require = createRequire(import.meta.url);
let native: Promise<Native> | undefined;

async function loadNative(): Promise<Native> {
  const codecs = require('dcmjs-codecs') as Native;
  await codecs.NativeCodecs.initializeAsync();
  return codecs;
}

/** The frames of a file, compressed. */
export async function encodeFrames(options: DicomFileOptions): Promise<Uint8Array[]> {
  native ??= loadNative();
  const { Context, NativeCodecs } = await native;
  const { syntax, rows, columns, cells, frames = 1, isSigned = false } = options;
  const bytes = new Uint8Array(cells.buffer, cells.byteOffset, cells.byteLength);
  const size = bytes.length / frames;
  const bitsAllocated = 8 * cells.BYTES_PER_ELEMENT;
  return Array.from({ length: frames }, (_, frame) => {
    const context = new Context({
      width: columns,
      height: rows,
      bitsAllocated,
      bitsStored: options.bitsStored ?? bitsAllocated,
      samplesPerPixel: 1,
      pixelRepresentation: isSigned ? 1 : 0,
      planarConfiguration: 0,
      photometricInterpretation: 'MONOCHROME2',
      decodedBuffer: bytes.subarray(frame * size, (frame + 1) * size),
    });
    const encode: Partial<Record<SyntaxName, () => InstanceType<Native['Context']>>> = {
      jpegBaseline: () => NativeCodecs.encodeJpeg(context, { lossy: true, quality: 95 }),
      jpegExtended: () => NativeCodecs.encodeJpeg(context, { lossy: true, quality: 95 }),
      jpegLossless: () => NativeCodecs.encodeJpeg(context, { lossy: false, predictor: 4 }),
      jpegLosslessSv1: () => NativeCodecs.encodeJpeg(context, { lossy: false, predictor: 1 }),
      jpegLsLossless: () => NativeCodecs.encodeJpegLs(context, { lossy: false }),
      jpegLsNear: () => NativeCodecs.encodeJpegLs(context, { lossy: true, allowedLossyError: 2 }),
      jpeg2000Lossless: () => NativeCodecs.encodeJpeg2000(context, { lossy: false }),
      jpeg2000: () => NativeCodecs.encodeJpeg2000(context, { lossy: true, rate: 5 }),
      rle: () => NativeCodecs.encodeRle(context),
    };
    const encoded = encode[syntax ?? 'explicit']?.().getEncodedBuffer();
    if (encoded === undefined) throw new Error(`${syntax} cannot be encoded`);
    return encoded;
  });
}

/** A frame of JPEG Extended with 12 bits, which our codecs cannot encode: made by dcmcjpeg of DCMTK 3.6.7. */
export const JPEG_EXTENDED_12 = {
  rows: 16,
  columns: 24,
  /** Of the cells, little-endian, that dcmdjpeg gives. */
  sha256: 'b99c226326ea53d9f0a2961aed8503e0ed39e93953f652c4b812e832fc6fa099',
  encoded: new Uint8Array(
    Buffer.from(
      [
        '/9j/4AAQSkZJRgABAQAAAQABAAD/2wBDAAIBAQEBAQIBAQECAgICAgQDAgICAgUEBAMEBgUGBgYFBgYGBwkIBgcJBwYGCAsI',
        'CQoKCgoKBggLDAsKDAkKCgr/wQALDAAQABgBAREA/8QAFgABAQEAAAAAAAAAAAAAAAAADAkN/8QAJxAAAAMHAwUBAQAAAAAA',
        'AAAAAQIEAwUGBwgJEQAKEgsME0FRISP/2gAIAQEAAD8Az4jsirbZUi2aLQ9MUu50y4dbsUu+F3QyaEVpCEEBKyZh7DSizdA2',
        'JKKLsVkxTLCUcBud4Kl0ICxZs0qYhhERY49Bo+rvMO356xrwV5F4TJk3Rg9nkmeEVmaszpHAc4CAtc+i6lB052rtfssH/AVO',
        'KYTQwEOnTJfAH8ePDBcY/PmkbfSRr0ry3cUSS0pabvY0RA/miRGKcT+XlzEpcY/fulLvSN+0rHfvJIelpUwotxliUYgZpFfn',
        'GFfLy5gU2c8B+6///9k=',
      ].join(''),
      'base64',
    ),
  ),
} as const;
