/**
 * Checks the entropy-coded data of one scan without computing pixels (ITU-T T.81, F.2.2 and G.2): every block is present,
 * every code is valid, and no data is left. A decoder would fill missing blocks with grey.
 */
import { ImageDamage } from './damage.js';
import type { BitReader, HuffmanTable } from './jpeg-bits.js';

/** Blocks read in one step: about a millisecond. */
const BLOCKS_PER_STEP = 8192;
/** Largest magnitude categories of 8-bit samples (tables F.1 and F.2). */
const DC_CATEGORY_MAX = 11;
const AC_CATEGORY_MAX = 10;
/** Largest magnitude of a DC coefficient: eight times the mean of a block of 8-bit samples minus 128. */
const DC_MAX = 1024;

/** A component of the frame. */
export interface Component {
  readonly id: number;
  readonly horizontal: number;
  readonly vertical: number;
  /** Number of its quantisation table. */
  readonly quantisation: number;
  /** Blocks that contain a part of the image: those of a scan of this component alone. */
  readonly columns: number;
  readonly rows: number;
  /** Blocks padded to whole MCUs: those of a scan of several components. */
  readonly paddedColumns: number;
  readonly paddedRows: number;
  /** Lowest bit read of each of the 64 coefficients; -1 for none. */
  readonly lowestBit: Int8Array;
  /** Progressive: 64 bits for each block, 1 where a coefficient is not zero so far. Allocated for the first scan that needs it. */
  nonZero: Uint32Array | undefined;
}

export interface ScanComponent {
  readonly component: Component;
  /** Step of the DC coefficient (its quantisation table's first entry). */
  readonly dcStep: number;
  /** DC coefficient of the previous block. */
  prediction: number;
  readonly dc: HuffmanTable | undefined;
  readonly ac: HuffmanTable | undefined;
}

export interface Scan {
  readonly components: readonly ScanComponent[];
  readonly isProgressive: boolean;
  /** First and last coefficient; high and low bit of the successive approximation. */
  readonly first: number;
  readonly last: number;
  readonly high: number;
  readonly low: number;
  /** MCUs between two restart markers; 0 without restart markers. */
  readonly restartInterval: number;
  /** MCUs of the frame. */
  readonly mcuColumns: number;
  readonly mcuRows: number;
}

/** Reads one block. @param at index of the block in its component, for progressive scans */
type BlockReader = (part: ScanComponent, at: number) => void;

/**
 * Reads a scan to its end.
 * @returns the position of the marker after it
 * @throws ImageDamage
 */
export function* readScan(scan: Scan, bits: BitReader): Generator<void, number> {
  const run = { blocks: 0 };
  const readBlock = blockReaderOf(scan, bits, run);
  const [only] = scan.components;
  const isAlone = scan.components.length === 1;
  const columns = isAlone ? only!.component.columns : scan.mcuColumns;
  const rows = isAlone ? only!.component.rows : scan.mcuRows;
  let blocks = 0;
  let left = scan.restartInterval;
  let restarts = 0;
  for (let row = 0; row < rows; row++) {
    for (let column = 0; column < columns; column++) {
      if (scan.restartInterval > 0 && left === 0) {
        endOfRun(run);
        for (const part of scan.components) part.prediction = 0;
        bits.restart(restartMarker(bits, restarts++ % 8));
        left = scan.restartInterval;
      }
      left--;
      if (isAlone) readBlock(only!, row * only!.component.paddedColumns + column);
      else blocks += readMcu(scan, readBlock, row, column);
      if (bits.isOverrun) throw new ImageDamage('its data end before its last block');
      if (++blocks < BLOCKS_PER_STEP) continue;
      blocks = 0;
      yield;
    }
  }
  endOfRun(run);
  return bits.finish();
}

function readMcu({ components }: Scan, readBlock: BlockReader, row: number, column: number): number {
  let count = 0;
  for (const part of components) {
    const { horizontal, vertical, paddedColumns } = part.component;
    for (let y = 0; y < vertical; y++) {
      for (let x = 0; x < horizontal; x++) {
        readBlock(part, (row * vertical + y) * paddedColumns + column * horizontal + x);
        count++;
      }
    }
  }
  return count;
}

/** Blocks whose ends were announced ahead must have come. */
function endOfRun(run: { blocks: number }): void {
  if (run.blocks > 0) throw new ImageDamage('its data announce more blocks than there are');
}

/** @returns the position after RST`number`. */
function restartMarker(bits: BitReader, number: number): number {
  const { position, marker } = bits.finishAtMarker();
  if (marker !== 0xd0 + number) throw new ImageDamage('a restart marker is missing');
  return position + 2;
}

function blockReaderOf(scan: Scan, bits: BitReader, run: { blocks: number }): BlockReader {
  if (!scan.isProgressive) return (part) => readSequential(bits, part);
  if (scan.first === 0) {
    if (scan.high === 0) return (part) => readDc(bits, part, scan.low);
    return () => {
      bits.read(1);
    };
  }
  if (scan.high === 0) {
    return ({ component, ac }, at) => firstPass(scan, bits, run, tableOf(ac), component.nonZero!, at);
  }
  return ({ component, ac }, at) => refinement(scan, bits, run, tableOf(ac), component.nonZero!, at);
}

function tableOf(table: HuffmanTable | undefined): HuffmanTable {
  if (table === undefined) throw new ImageDamage('a Huffman table is missing');
  return table;
}

/** @param low number of low bits of the coefficient that later scans contain */
function readDc(bits: BitReader, part: ScanComponent, low: number): void {
  const category = tableOf(part.dc).read(bits);
  if (category > DC_CATEGORY_MAX) throw new ImageDamage('a value is out of range');
  const value = bits.read(category);
  // The lower half of a category's values are negative (F.2.2.1).
  const isNegative = category > 0 && value < 1 << (category - 1);
  part.prediction += isNegative ? value - (1 << category) + 1 : value;
  // A damaged difference shifts every later block. Two steps are tolerated for rounding.
  const step = part.dcStep << low;
  if (Math.abs(part.prediction) * step > DC_MAX + 2 * step) {
    throw new ImageDamage('its blocks are brighter or darker than they can be');
  }
}

function readSequential(bits: BitReader, part: ScanComponent): void {
  readDc(bits, part, 0);
  const ac = tableOf(part.ac);
  for (let at = 1; at < 64; at++) {
    const symbol = ac.read(bits);
    const category = symbol & 15;
    if (symbol === 0) return;
    if (category === 0 && symbol !== 0xf0) {
      throw new ImageDamage('its data hold a code that has no meaning');
    }
    if (category > AC_CATEGORY_MAX) throw new ImageDamage('a value is out of range');
    at += symbol >> 4;
    if (at > 63) throw new ImageDamage('a block has more than 64 values');
    bits.read(category);
  }
}

function firstPass(
  { first, last }: Scan,
  bits: BitReader,
  run: { blocks: number },
  ac: HuffmanTable,
  nonZero: Uint32Array,
  block: number,
): void {
  if (run.blocks > 0) {
    run.blocks--;
    return;
  }
  for (let at = first; at <= last; at++) {
    const symbol = ac.read(bits);
    const zeros = symbol >> 4;
    const category = symbol & 15;
    if (category === 0 && zeros < 15) {
      run.blocks = (1 << zeros) - 1 + bits.read(zeros);
      return;
    }
    if (category > AC_CATEGORY_MAX) throw new ImageDamage('a value is out of range');
    at += zeros;
    if (at > last) throw new ImageDamage('a block has more values than its scan');
    bits.read(category);
    if (category > 0) mark(nonZero, block, at);
  }
}

/** Reads a further bit of each coefficient that is not zero so far, and the coefficients that become non-zero (G.1.2.3). */
function refinement(
  { first, last }: Scan,
  bits: BitReader,
  run: { blocks: number },
  ac: HuffmanTable,
  nonZero: Uint32Array,
  block: number,
): void {
  let at = first;
  if (run.blocks === 0) {
    while (at <= last) {
      const symbol = ac.read(bits);
      let zeros = symbol >> 4;
      const category = symbol & 15;
      if (category > 1) throw new ImageDamage('a value is out of range');
      if (category === 0 && zeros < 15) {
        run.blocks = (1 << zeros) + bits.read(zeros);
        break;
      }
      if (category === 1) bits.read(1);
      for (; at <= last; at++) {
        if (isMarked(nonZero, block, at)) bits.read(1);
        else if (--zeros < 0) break;
      }
      if (category === 1) {
        if (at > last) throw new ImageDamage('a block has more values than its scan');
        mark(nonZero, block, at);
      }
      at++;
    }
  }
  if (run.blocks === 0) return;
  run.blocks--;
  if (nonZero[2 * block] === 0 && nonZero[2 * block + 1] === 0) return;
  for (; at <= last; at++) if (isMarked(nonZero, block, at)) bits.read(1);
}

function mark(nonZero: Uint32Array, block: number, at: number): void {
  const word = 2 * block + (at >> 5);
  nonZero[word] = nonZero[word]! | (1 << (at & 31));
}

function isMarked(nonZero: Uint32Array, block: number, at: number): boolean {
  return ((nonZero[2 * block + (at >> 5)]! >>> (at & 31)) & 1) === 1;
}
