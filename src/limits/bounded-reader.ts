/** Protobuf messages decoded with a bound on the number of their parts. */
import { BinaryReader } from '@bufbuild/protobuf/wire';
import { SaladError } from '../errors/index.js';

/** Bytes of a text field: names and ids, nothing longer. */
const TEXT_BYTES_MAX = 4096;
const VARINT_BYTES_MAX = 10;
const VARINT = 0;

/**
 * Counts tags, lengths and numbers as they are read, before anything is made of them: a small message may announce
 * millions of empty parts, each of which costs a hundred bytes or more once decoded.
 * @throws SaladError MESSAGE_INVALID from any of its methods
 */
export class BoundedReader extends BinaryReader {
  /** @param partsLeft most tags, lengths and numbers of the message, those of nested messages included */
  constructor(
    private readonly encoded: Uint8Array,
    private partsLeft: number,
  ) {
    super(encoded);
    const readVarint = this.uint32;
    // A field of the instance in the base class, too: its other methods call it.
    this.uint32 = () => {
      this.partsLeft -= 1;
      if (this.partsLeft < 0) throw new SaladError('MESSAGE_INVALID', 'the message has too many parts');
      return readVarint.call(this);
    };
  }

  override string(strict?: boolean): string {
    const start = this.pos;
    const length = this.uint32();
    if (length > TEXT_BYTES_MAX) {
      throw new SaladError('MESSAGE_INVALID', `a text of ${length} bytes is longer than ${TEXT_BYTES_MAX}`);
    }
    this.pos = start;
    return super.string(strict);
  }

  override skip(...args: Parameters<BinaryReader['skip']>): Uint8Array {
    const start = this.pos;
    if (args[0] !== VARINT) return super.skip(...args);
    // The base class goes on for as long as the bytes say so.
    while ((this.encoded[this.pos++]! & 0x80) !== 0) {
      if (this.pos - start === VARINT_BYTES_MAX) {
        throw new SaladError('MESSAGE_INVALID', 'a number has more than ten bytes');
      }
    }
    return this.encoded.subarray(start, this.pos);
  }
}
