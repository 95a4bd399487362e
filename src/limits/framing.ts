/** Length-prefixed gRPC messages out of the pieces in which HTTP/2 delivers them. */

const PREFIX_BYTES = 5;
/** A message of this length is put together from its pieces at the end; a longer one has its place from the start. */
const PIECES_BYTES_MAX = 64 * 1024;

export interface Prefix {
  readonly isCompressed: boolean;
  /** Bytes of the message, as announced. */
  readonly length: number;
}

/** Takes pieces in, gives one message at a time; what it holds beyond that is the last piece that came. */
export class Framing {
  /** Not read yet, in order. */
  private pieces: Buffer[] = [];
  private pieceBytes = 0;
  private prefix: Prefix | undefined;
  /** The message being received, where it is long: its bytes leave `pieces` at once. */
  private long: Buffer | undefined;
  private longBytes = 0;

  push(piece: Buffer): void {
    this.pieces.push(piece);
    this.pieceBytes += piece.byteLength;
    if (this.long !== undefined) this.fill(this.long);
  }

  /** The prefix of the message that comes next, once it is there. */
  get next(): Prefix | undefined {
    if (this.prefix === undefined && this.pieceBytes >= PREFIX_BYTES) {
      const bytes = this.read(PREFIX_BYTES);
      this.prefix = { isCompressed: bytes[0] === 1, length: bytes.readUInt32BE(1) };
    }
    return this.prefix;
  }

  /** The next message has its room: its bytes are kept from now on. */
  accept(): void {
    const length = this.prefix?.length ?? 0;
    if (length <= PIECES_BYTES_MAX || length <= this.pieceBytes) return;
    // Pages that no byte came for cost no memory.
    this.long = Buffer.allocUnsafeSlow(length);
    this.longBytes = 0;
    this.fill(this.long);
  }

  /** All of the accepted message is there. */
  get isComplete(): boolean {
    if (this.prefix === undefined) return false;
    return this.long === undefined
      ? this.pieceBytes >= this.prefix.length
      : this.longBytes === this.prefix.length;
  }

  /** The complete message, without its prefix. */
  take(): Buffer {
    const message = this.long ?? this.read(this.prefix?.length ?? 0);
    this.prefix = undefined;
    this.long = undefined;
    return message;
  }

  private fill(target: Buffer): void {
    while (this.pieces.length > 0 && this.longBytes < target.byteLength) {
      const piece = this.pieces[0]!;
      const copied = piece.copy(target, this.longBytes);
      this.longBytes += copied;
      this.drop(piece, copied);
    }
  }

  private read(bytes: number): Buffer {
    const first = this.pieces[0];
    if (bytes === 0 || first === undefined) return Buffer.alloc(0);
    if (first.byteLength >= bytes) {
      const part = first.subarray(0, bytes);
      this.drop(first, bytes);
      return part;
    }
    const parts: Buffer[] = [];
    for (let left = bytes; left > 0; ) {
      const piece = this.pieces[0]!;
      const part = piece.subarray(0, left);
      parts.push(part);
      left -= part.byteLength;
      this.drop(piece, part.byteLength);
    }
    return Buffer.concat(parts, bytes);
  }

  /** The first bytes of the first piece are read. */
  private drop(piece: Buffer, bytes: number): void {
    this.pieceBytes -= bytes;
    if (bytes === piece.byteLength) this.pieces.shift();
    else this.pieces[0] = piece.subarray(bytes);
  }
}
