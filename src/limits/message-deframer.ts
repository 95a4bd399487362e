/** Splits the bytes of an HTTP/2 stream into length-prefixed gRPC messages. */

const PREFIX_BYTES = 5;
/** Up to this length a message is concatenated when complete; a longer one gets its buffer when it is accepted. */
const CONCATENATED_BYTES_MAX = 64 * 1024;

export interface MessagePrefix {
  readonly isCompressed: boolean;
  /** Announced length of the message, in bytes. */
  readonly length: number;
}

/**
 * Use: `push` every received buffer; when `nextPrefix` is defined, `accept` the message; when `isComplete`,
 * `takeMessage`. Besides the current message it keeps no more than the bytes that were pushed and not read.
 */
export class MessageDeframer {
  /** Received bytes that were not read, in order. */
  private buffers: Buffer[] = [];
  private bufferedBytes = 0;
  private prefix: MessagePrefix | undefined;
  /** Buffer of the current message where it is long: received bytes are copied into it at once. */
  private longMessage: Buffer | undefined;
  private longMessageBytes = 0;

  push(buffer: Buffer): void {
    this.buffers.push(buffer);
    this.bufferedBytes += buffer.byteLength;
    if (this.longMessage !== undefined) this.fill(this.longMessage);
  }

  /** Prefix of the next message; undefined until its five bytes were pushed. */
  get nextPrefix(): MessagePrefix | undefined {
    if (this.prefix === undefined && this.bufferedBytes >= PREFIX_BYTES) {
      const bytes = this.read(PREFIX_BYTES);
      this.prefix = { isCompressed: bytes[0] === 1, length: bytes.readUInt32BE(1) };
    }
    return this.prefix;
  }

  /** To be called once the memory of the next message is reserved. Allocates its buffer where it is long. */
  accept(): void {
    const length = this.prefix?.length ?? 0;
    if (length <= CONCATENATED_BYTES_MAX || length <= this.bufferedBytes) return;
    // The system provides the pages of this buffer only when bytes are written to them.
    this.longMessage = Buffer.allocUnsafeSlow(length);
    this.longMessageBytes = 0;
    this.fill(this.longMessage);
  }

  /** Whether all bytes of the accepted message were pushed. */
  get isComplete(): boolean {
    if (this.prefix === undefined) return false;
    return this.longMessage === undefined
      ? this.bufferedBytes >= this.prefix.length
      : this.longMessageBytes === this.prefix.length;
  }

  /** Removes and returns the complete message, without its prefix. */
  takeMessage(): Buffer {
    const message = this.longMessage ?? this.read(this.prefix?.length ?? 0);
    this.prefix = undefined;
    this.longMessage = undefined;
    return message;
  }

  private fill(target: Buffer): void {
    while (this.buffers.length > 0 && this.longMessageBytes < target.byteLength) {
      const first = this.buffers[0]!;
      const copiedBytes = first.copy(target, this.longMessageBytes);
      this.longMessageBytes += copiedBytes;
      this.dropFrom(first, copiedBytes);
    }
  }

  private read(byteCount: number): Buffer {
    const first = this.buffers[0];
    if (byteCount === 0 || first === undefined) return Buffer.alloc(0);
    if (first.byteLength >= byteCount) {
      const view = first.subarray(0, byteCount);
      this.dropFrom(first, byteCount);
      return view;
    }
    const views: Buffer[] = [];
    for (let bytesLeft = byteCount; bytesLeft > 0; ) {
      const buffer = this.buffers[0]!;
      const view = buffer.subarray(0, bytesLeft);
      views.push(view);
      bytesLeft -= view.byteLength;
      this.dropFrom(buffer, view.byteLength);
    }
    return Buffer.concat(views, byteCount);
  }

  /** Removes bytes from the start of the first buffer. */
  private dropFrom(first: Buffer, byteCount: number): void {
    this.bufferedBytes -= byteCount;
    if (byteCount === first.byteLength) this.buffers.shift();
    else this.buffers[0] = first.subarray(byteCount);
  }
}
