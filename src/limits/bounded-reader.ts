/** A protobuf reader that limits the number of fields in a message. */
import { BinaryReader } from '@bufbuild/protobuf/wire';
import { SaladError } from '../errors/index.js';

/** Longest text field, in bytes: all text fields are names and ids. */
const TEXT_BYTES_MAX = 4096;
const VARINT_BYTES_MAX = 10;
const VARINT = 0;

/**
 * Counts the varints (tags, lengths and 32-bit integers) of a message while they are read, before objects are created
 * from them: a small message can contain millions of empty fields, each of which costs a hundred bytes or more once
 * decoded.
 * @throws SaladError MESSAGE_INVALID from any of its methods
 */
export class BoundedReader extends BinaryReader {
  /** @param varintsLeft most varints of the message, including those of nested messages */
  constructor(
    private readonly encoded: Uint8Array,
    private varintsLeft: number,
  ) {
    super(encoded);
    const readVarint = this.uint32;
    // The base class has this method as an instance field and calls it in its other methods, so it is replaced here.
    this.uint32 = () => {
      this.varintsLeft -= 1;
      if (this.varintsLeft < 0) throw new SaladError('MESSAGE_INVALID', 'the message has too many fields');
      return readVarint.call(this);
    };
  }

  override string(strict?: boolean): string {
    const start = this.pos;
    const length = this.uint32();
    if (length > TEXT_BYTES_MAX) {
      throw new SaladError(
        'MESSAGE_INVALID',
        `a text field of ${length} bytes is longer than ${TEXT_BYTES_MAX} bytes`,
      );
    }
    this.pos = start;
    return super.string(strict);
  }

  override skip(...args: Parameters<BinaryReader['skip']>): Uint8Array {
    const start = this.pos;
    if (args[0] !== VARINT) return super.skip(...args);
    // The base class skips a varint of any length.
    while ((this.encoded[this.pos++]! & 0x80) !== 0) {
      if (this.pos - start === VARINT_BYTES_MAX) {
        throw new SaladError('MESSAGE_INVALID', 'an integer has more than ten bytes');
      }
    }
    return this.encoded.subarray(start, this.pos);
  }
}
