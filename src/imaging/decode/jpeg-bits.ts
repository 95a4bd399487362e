/** Reads bits of a JPEG's entropy-coded data, and its Huffman tables (ITU-T T.81, annexes B, C and F). */
import { ImageDamage } from './damage.js';

/** Codes up to this length are found by one look-up. */
const FAST_BITS = 9;

/** A Huffman table as read from a DHT segment. */
export class HuffmanTable {
  /** By the next FAST_BITS bits: length << 8 | symbol; 0 where the code is longer or there is none. */
  readonly #fast = new Uint16Array(1 << FAST_BITS);
  /** Largest code of each length 1 to 16; -1 where there is none. */
  readonly #largest = new Int32Array(17).fill(-1);
  /** Index of the first symbol of a length, less its first code. */
  readonly #offset = new Int32Array(17);
  readonly #symbols: Uint8Array;

  /**
   * @param counts number of codes of each length 1 to 16
   * @param symbols in the order of their codes
   * @throws ImageDamage where the lengths form no prefix code
   */
  constructor(counts: Uint8Array, symbols: Uint8Array) {
    this.#symbols = symbols;
    let code = 0;
    let index = 0;
    for (let length = 1; length <= 16; length++) {
      const count = counts[length - 1]!;
      this.#offset[length] = index - code;
      if (code + count > 1 << length) throw new ImageDamage('a Huffman table has too many codes');
      for (let i = 0; i < count && length <= FAST_BITS; i++) {
        const first = (code + i) << (FAST_BITS - length);
        this.#fast.fill((length << 8) | symbols[index + i]!, first, first + (1 << (FAST_BITS - length)));
      }
      index += count;
      code += count;
      if (count > 0) this.#largest[length] = code - 1;
      code <<= 1;
    }
  }

  /** Reads one symbol. @throws ImageDamage where the bits are no code of this table */
  read(bits: BitReader): number {
    const window = bits.peek16();
    const entry = this.#fast[window >> (16 - FAST_BITS)]!;
    if (entry !== 0) {
      bits.skip(entry >> 8);
      return entry & 0xff;
    }
    for (let length = FAST_BITS + 1; length <= 16; length++) {
      const code = window >> (16 - length);
      if (code <= this.#largest[length]!) {
        bits.skip(length);
        return this.#symbols[code + this.#offset[length]!]!;
      }
    }
    throw new ImageDamage('its data hold a code that no table has');
  }
}

/**
 * The bits between two markers, followed by zero bits, so that a code can be looked up by 16 bits. `isOverrun` is true after
 * some of the zero bits were used.
 */
export class BitReader {
  #buffer = 0;
  #count = 0;
  /** Number of bits in the buffer that are not in the file. */
  #padding = 0;
  #atMarker = false;

  /** @param position the first byte of entropy-coded data */
  constructor(
    private readonly bytes: Uint8Array,
    private position: number,
  ) {}

  get isOverrun(): boolean {
    return this.#count < this.#padding;
  }

  /** The next 16 bits; they stay unread. */
  peek16(): number {
    if (this.#count < 16) this.#fill();
    return (this.#buffer >>> (this.#count - 16)) & 0xffff;
  }

  /** Skips bits that `peek16` returned. */
  skip(count: number): void {
    this.#count -= count;
  }

  /** @param count 0 to 16 */
  read(count: number): number {
    if (this.#count < count) this.#fill();
    this.#count -= count;
    return (this.#buffer >>> this.#count) & ((1 << count) - 1);
  }

  /**
   * Ends a run of entropy-coded data.
   * @returns the position of the marker after it
   * @throws ImageDamage where whole bytes are left before the marker, or bits were read past it
   */
  finish(): number {
    if (this.isOverrun) throw new ImageDamage('its data end before its last block');
    if (this.position >= this.bytes.length) throw new ImageDamage('it has no end');
    if (this.#count - this.#padding >= 8 || !this.#isMarker(this.position)) {
      throw new ImageDamage('its data go on after its last block');
    }
    return this.position;
  }

  /** As `finish`, and returns the marker's second byte. Fill bytes (0xff) may precede the marker. */
  finishAtMarker(): { readonly position: number; readonly marker: number } {
    let position = this.finish();
    while (this.bytes[position + 1] === 0xff) position++;
    return { position, marker: this.bytes[position + 1] ?? 0 };
  }

  /** Continues after a marker. */
  restart(position: number): void {
    this.position = position;
    this.#buffer = 0;
    this.#count = 0;
    this.#padding = 0;
    this.#atMarker = false;
  }

  #isMarker(at: number): boolean {
    return this.bytes[at] === 0xff && at + 1 < this.bytes.length && this.bytes[at + 1] !== 0;
  }

  /** Fills the buffer up to 32 bits; with zeros at a marker or the end of the file. */
  #fill(): void {
    while (this.#count <= 24) {
      let byte = 0;
      if (!this.#atMarker) {
        const next = this.bytes[this.position];
        if (next === undefined) this.#atMarker = true;
        else if (next !== 0xff) {
          byte = next;
          this.position++;
        } else if (this.bytes[this.position + 1] === 0) {
          byte = 0xff;
          this.position += 2;
        } else this.#atMarker = true;
      }
      if (this.#atMarker) this.#padding += 8;
      this.#buffer = (this.#buffer << 8) | byte;
      this.#count += 8;
    }
  }
}
