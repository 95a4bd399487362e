/**
 * Reads a JPEG file by its markers (ITU-T T.81, annex B): size and kind from its headers, and a check of the whole file.
 * Decoders accept a file that is cut off, overwritten or longer than its frame, and fill missing pixels with grey.
 */
import { checkNoSecondImage, ImageDamage, isJpeg } from './damage.js';
import { BitReader, HuffmanTable } from './jpeg-bits.js';
import { type Component, readScan, type Scan } from './jpeg-scan.js';

/** A progressive file may repeat small scans of a large image without limit; real files have about ten scans. */
const SCANS_MAX = 100;
/** Segments read in one step. */
const SEGMENTS_PER_STEP = 100;
/** A scan can refer to four tables of each of two classes. */
const TABLES_PER_SEGMENT_MAX = 8;

const TEM = 0x01;
const SOF2 = 0xc2;
const DHT = 0xc4;
const JPG = 0xc8;
const DAC = 0xcc;
const DQT = 0xdb;
const RST0 = 0xd0;
const RST7 = 0xd7;
const SOI = 0xd8;
const EOI = 0xd9;
const SOS = 0xda;
const DRI = 0xdd;

/** Properties of the image according to the headers. */
export interface JpegHeader {
  readonly rows: number;
  readonly columns: number;
  /** 1 grey, 3 colour, 4 CMYK. */
  readonly channels: number;
  /** Whether the samples are in several scans: a decoder keeps all coefficients until the last one. */
  readonly hasManyScans: boolean;
  /** Samples of all components, filled up to whole MCUs. */
  readonly paddedSamples: number;
}

/** Reads up to the first scan. @throws ImageDamage where there is none, or the file is of a kind not supported */
export function* jpegHeader(bytes: Uint8Array): Generator<void, JpegHeader> {
  const reader = new JpegReader(bytes);
  const scan = yield* reader.nextScan();
  if (scan === undefined) throw new ImageDamage('it has no scan');
  const { rows, columns, isProgressive, components, paddedSamples } = reader.frame!;
  const hasManyScans = isProgressive || scan.components.length < components.length;
  return { rows, columns, channels: components.length, hasManyScans, paddedSamples };
}

/**
 * Reads a whole file without computing its pixels. JPEG has no checksum: damage that leaves the number of blocks, the codes
 * and their ranges valid is not detected.
 * @throws ImageDamage
 */
export function* checkJpeg(bytes: Uint8Array): Generator<void, void> {
  const reader = new JpegReader(bytes);
  for (;;) {
    const scan = yield* reader.nextScan();
    if (scan === undefined) break;
    reader.position = yield* readScan(scan, new BitReader(bytes, reader.position));
  }
  reader.checkComplete();
}

interface Frame {
  readonly rows: number;
  readonly columns: number;
  readonly isProgressive: boolean;
  readonly components: readonly Component[];
  readonly mcuColumns: number;
  readonly mcuRows: number;
  readonly paddedSamples: number;
}

class JpegReader {
  /** Position of the next marker. */
  position = 2;
  frame: Frame | undefined;
  #restartInterval = 0;
  #scans = 0;
  readonly #dcTables: HuffmanTable[] = [];
  readonly #acTables: HuffmanTable[] = [];
  /** First entry of each quantisation table. */
  readonly #dcSteps: number[] = [];

  constructor(private readonly bytes: Uint8Array) {
    if (!isJpeg(bytes)) throw new ImageDamage('it has no start-of-image marker');
  }

  /** @returns the scan whose data begin at `position`; undefined at the end of the image */
  *nextScan(): Generator<void, Scan | undefined> {
    for (let segments = 1; ; segments++) {
      const marker = this.#marker();
      if (marker === EOI) return undefined;
      if (marker === SOI) throw new ImageDamage('a second image begins in it');
      // These markers have no segment.
      if (marker === TEM || (marker >= RST0 && marker <= RST7)) continue;
      const segment = this.#segment();
      if (marker === SOS) return this.#scan(segment);
      if (marker === DHT) this.#readTables(segment);
      else if (marker === DQT) this.#readSteps(segment);
      else if (marker === DRI) this.#restartInterval = segment.word(0);
      else if (marker >= 0xc0 && marker <= 0xcf && marker !== JPG && marker !== DAC) {
        if (this.frame !== undefined) throw new ImageDamage('it has two frames');
        this.frame = frameOf(marker, segment);
      }
      if (segments % SEGMENTS_PER_STEP === 0) yield;
    }
  }

  /** @throws ImageDamage where a part of the image is missing, or a second image follows */
  checkComplete(): void {
    if (this.frame === undefined) throw new ImageDamage('it has no frame');
    for (const { lowestBit } of this.frame.components) {
      if (lowestBit.some((bit) => bit !== 0)) throw new ImageDamage('some of its scans are missing');
    }
    checkNoSecondImage(this.bytes, this.position);
  }

  /** Reads the marker at `position`. */
  #marker(): number {
    const { bytes } = this;
    if (this.position < bytes.length && bytes[this.position] !== 0xff) {
      throw new ImageDamage('a marker is missing');
    }
    while (bytes[this.position] === 0xff) this.position++;
    const marker = bytes[this.position++];
    if (marker === undefined) throw new ImageDamage('it has no end');
    if (marker === 0) throw new ImageDamage('a marker is missing');
    return marker;
  }

  /** Reads the segment at `position`. @returns its content after the length */
  #segment(): Segment {
    const length = new Segment(this.bytes.subarray(this.position)).word(0);
    const end = this.position + length;
    if (length < 2 || end > this.bytes.length) throw cutOff();
    const segment = new Segment(this.bytes.subarray(this.position + 2, end));
    this.position = end;
    return segment;
  }

  #readTables(segment: Segment): void {
    for (let at = 0, tables = 1; at < segment.length; tables++) {
      if (tables > TABLES_PER_SEGMENT_MAX) throw new ImageDamage('a segment has too many Huffman tables');
      const place = segment.byte(at);
      if (place >> 4 > 1 || (place & 15) > 3) throw new ImageDamage('a Huffman table has no place');
      const counts = segment.slice(at + 1, 16);
      const total = counts.reduce((sum, count) => sum + count, 0);
      const symbols = segment.slice(at + 17, total);
      const places = place >> 4 === 0 ? this.#dcTables : this.#acTables;
      places[place & 15] = new HuffmanTable(counts, symbols);
      at += 17 + total;
    }
  }

  #readSteps(segment: Segment): void {
    for (let at = 0; at < segment.length; ) {
      const place = segment.byte(at);
      const isWide = place >> 4 !== 0;
      this.#dcSteps[place & 15] = isWide ? segment.word(at + 1) : segment.byte(at + 1);
      at += 1 + (isWide ? 128 : 64);
    }
  }

  #scan(segment: Segment): Scan {
    const { frame } = this;
    if (frame === undefined) throw new ImageDamage('its scan comes before its frame');
    if (++this.#scans > SCANS_MAX) throw new ImageDamage(`it has more than ${SCANS_MAX} scans`);
    const count = segment.byte(0);
    const components = Array.from({ length: count }, (_, i) => {
      const component = frame.components.find(({ id }) => id === segment.byte(1 + 2 * i));
      if (component === undefined) throw new ImageDamage('a scan is of a component that the frame lacks');
      const tables = segment.byte(2 + 2 * i);
      const dcStep = this.#dcSteps[component.quantisation] ?? 0;
      if (dcStep === 0) throw new ImageDamage('a quantisation table is missing');
      const [dc, ac] = [this.#dcTables[tables >> 4], this.#acTables[tables & 15]];
      return { component, dcStep, prediction: 0, dc, ac };
    });
    if (count === 0 || new Set(components.map(({ component }) => component)).size < count) {
      throw new ImageDamage('a scan has no components, or one twice');
    }
    const at = 1 + 2 * count;
    const bits = segment.byte(at + 2);
    const { isProgressive, mcuColumns, mcuRows } = frame;
    // Sequential scans contain all coefficients; their range in the header is ignored.
    const range = isProgressive
      ? { first: segment.byte(at), last: segment.byte(at + 1), high: bits >> 4, low: bits & 15 }
      : { first: 0, last: 63, high: 0, low: 0 };
    const restartInterval = this.#restartInterval;
    const scan = { components, isProgressive, ...range, restartInterval, mcuColumns, mcuRows };
    for (const { component } of components) checkProgression(component, scan);
    return scan;
  }
}

/**
 * Checks that a scan continues the previous ones (T.81, G.1.1.1), and records its bits.
 * @throws ImageDamage
 */
function checkProgression(
  component: Component,
  { first, last, high, low, isProgressive, components }: Scan,
): void {
  const isRange = first === 0 ? last === 0 || !isProgressive : first <= last && components.length === 1;
  if (!isRange || last > 63 || low > 13) throw new ImageDamage('the range of a scan is wrong');
  const before = high === 0 ? -1 : high;
  if (high !== 0 && low !== high - 1) throw new ImageDamage('the range of a scan is wrong');
  for (let at = first; at <= last; at++) {
    if (component.lowestBit[at] !== before) throw new ImageDamage('a scan comes twice, or out of order');
    component.lowestBit[at] = low;
  }
  if (first > 0) component.nonZero ??= new Uint32Array(2 * component.paddedColumns * component.paddedRows);
}

function frameOf(marker: number, segment: Segment): Frame {
  if (marker > SOF2) {
    throw new ImageDamage('lossless, hierarchical and arithmetic-coded JPEG are not supported');
  }
  const [precision, count] = [segment.byte(0), segment.byte(5)];
  const [rows, columns] = [segment.word(1), segment.word(3)];
  if (precision !== 8) throw new ImageDamage(`JPEG of ${precision} bits a sample is not supported`);
  if (rows === 0 || columns === 0) throw new ImageDamage('its frame has no rows or no columns');
  if (count !== 1 && count !== 3 && count !== 4) {
    throw new ImageDamage(`JPEG of ${count} components is not supported`);
  }
  const parts = Array.from({ length: count }, (_, i) => {
    const [id, factors] = [segment.byte(6 + 3 * i), segment.byte(7 + 3 * i)];
    const quantisation = segment.byte(8 + 3 * i);
    return { id, horizontal: factors >> 4, vertical: factors & 15, quantisation };
  });
  const isFactor = (factor: number) => factor >= 1 && factor <= 4;
  if (!parts.every(({ horizontal, vertical }) => isFactor(horizontal) && isFactor(vertical))) {
    throw new ImageDamage('a sampling factor is out of range');
  }
  const acrossMax = Math.max(...parts.map(({ horizontal }) => horizontal));
  const downMax = Math.max(...parts.map(({ vertical }) => vertical));
  const mcuColumns = Math.ceil(columns / (8 * acrossMax));
  const mcuRows = Math.ceil(rows / (8 * downMax));
  const components = parts.map((part) => ({
    ...part,
    columns: Math.ceil((columns * part.horizontal) / (8 * acrossMax)),
    rows: Math.ceil((rows * part.vertical) / (8 * downMax)),
    paddedColumns: mcuColumns * part.horizontal,
    paddedRows: mcuRows * part.vertical,
    lowestBit: new Int8Array(64).fill(-1),
    nonZero: undefined,
  }));
  const blocks = components.reduce((sum, each) => sum + each.paddedColumns * each.paddedRows, 0);
  const isProgressive = marker === SOF2;
  return { rows, columns, isProgressive, components, mcuColumns, mcuRows, paddedSamples: 64 * blocks };
}

/** Big-endian numbers of a segment. */
class Segment {
  constructor(private readonly bytes: Uint8Array) {}

  get length(): number {
    return this.bytes.length;
  }

  byte(at: number): number {
    const value = this.bytes[at];
    if (value === undefined) throw cutOff();
    return value;
  }

  word(at: number): number {
    return (this.byte(at) << 8) | this.byte(at + 1);
  }

  slice(at: number, length: number): Uint8Array {
    if (at + length > this.bytes.length) throw cutOff();
    return this.bytes.subarray(at, at + length);
  }
}

function cutOff(): ImageDamage {
  return new ImageDamage('a segment is cut off');
}
