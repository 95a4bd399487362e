/**
 * Between a socket and dcmjs-dimse: hands over whole PDUs one at a time and bounds what a peer can make this process
 * keep. dcmjs-dimse itself accepts a PDU of any length, copies it again with every packet, and never pauses the socket.
 */
import { EventEmitter } from 'node:events';
import type { Socket } from 'node:net';

/** PDU types (PS3.8 section 9.3). */
const ASSOCIATE_RQ = 0x01;
const P_DATA_TF = 0x04;
const RELEASE_RQ = 0x05;
const RELEASE_RP = 0x06;
const ABORT = 0x07;

const HEAD_BYTES = 6;
/** 128 presentation contexts with all transfer syntaxes have less. */
const ASSOCIATE_BYTES_MAX = 128 * 1024;
/** Fixed by the standard. */
const SHORT_BYTES = 4;
/** A command set has about 200 bytes. */
const COMMAND_BYTES_MAX = 16 * 1024;

export interface PduLimits {
  /** Bytes of a P-DATA-TF that were offered to the peer. */
  readonly pduBytesMax: number;
}

/** What dcmjs-dimse uses of a socket. Emits `data` with one PDU, `close`, and `violation` with a reason. */
export class PduChannel extends EventEmitter {
  private readonly head = Buffer.alloc(HEAD_BYTES);
  private headFilled = 0;
  private pdu: Buffer | undefined;
  private pduFilled = 0;
  private readonly holds = new Set<string>();
  /** Received while held. */
  private rest: Buffer | undefined;
  private isAssociated = false;
  private commandBytes = 0;
  private dataBytes = 0;
  private isEnded = false;

  /** @param dataBytesMax of the data set that is expected now; 0 where none is */
  constructor(
    private readonly socket: Socket,
    private readonly limits: PduLimits,
    private readonly dataBytesMax: () => number,
  ) {
    super();
    socket.on('data', (chunk: Buffer) => this.take(chunk));
    // A socket that fails also closes.
    socket.on('error', () => {});
    socket.on('end', () => socket.end());
    socket.once('close', () => {
      this.isEnded = true;
      this.emit('close');
    });
  }

  /** Whether a PDU has begun and is not complete. */
  get isWithinPdu(): boolean {
    return this.headFilled > 0;
  }

  get isHeld(): boolean {
    return this.holds.size > 0;
  }

  /** Hands over no PDU and reads nothing from the socket until `release` was called for every reason. */
  hold(reason: string): void {
    this.holds.add(reason);
    this.socket.pause();
  }

  release(reason: string): void {
    if (!this.holds.delete(reason) || this.isHeld || this.isEnded) return;
    const { rest } = this;
    this.rest = undefined;
    if (rest !== undefined) this.take(rest);
    if (!this.isHeld) this.socket.resume();
  }

  write(bytes: Uint8Array): boolean {
    return this.isEnded ? false : this.socket.write(bytes);
  }

  /** Sends what was written, then closes; the peer gets `graceMs` to close first. */
  finish(graceMs: number): void {
    if (this.isEnded) return;
    this.isEnded = true;
    this.socket.end();
    this.socket.resume();
    const timer = setTimeout(() => this.socket.destroy(), graceMs);
    this.socket.once('close', () => clearTimeout(timer));
  }

  destroy(): void {
    this.isEnded = true;
    this.socket.destroy();
  }

  /** Part of what dcmjs-dimse calls; the port has timers of its own. */
  setTimeout(): this {
    return this;
  }

  private take(chunk: Buffer): void {
    let at = 0;
    while (at < chunk.length && !this.isEnded) {
      if (this.isHeld) {
        this.rest = chunk.subarray(at);
        return;
      }
      at += this.pdu === undefined ? this.takeHead(chunk, at) : this.takeBody(this.pdu, chunk, at);
    }
  }

  private takeHead(chunk: Buffer, at: number): number {
    const count = chunk.copy(this.head, this.headFilled, at, at + HEAD_BYTES - this.headFilled);
    this.headFilled += count;
    if (this.headFilled < HEAD_BYTES) return count;
    const type = this.head[0]!;
    const length = this.head.readUInt32BE(2);
    const refusal = this.refusalOf(type, length);
    if (refusal !== undefined) {
      this.emit('violation', refusal);
      return count;
    }
    this.pdu = Buffer.allocUnsafeSlow(HEAD_BYTES + length);
    this.head.copy(this.pdu);
    this.pduFilled = HEAD_BYTES;
    return count;
  }

  private refusalOf(type: number, length: number): string | undefined {
    if (type === ASSOCIATE_RQ) {
      if (this.isAssociated) return 'a second association request';
      return length > ASSOCIATE_BYTES_MAX ? `an association request of ${length} bytes` : undefined;
    }
    if (type === ABORT || type === RELEASE_RQ || type === RELEASE_RP) {
      if (!this.isAssociated && type !== ABORT) return 'a release without an association';
      return length === SHORT_BYTES ? undefined : `a PDU of type ${type} with ${length} bytes`;
    }
    if (type !== P_DATA_TF) return `a PDU of type ${type}`;
    if (!this.isAssociated) return 'data without an association';
    return length > this.limits.pduBytesMax ? `a PDU of ${length} bytes` : undefined;
  }

  private takeBody(pdu: Buffer, chunk: Buffer, at: number): number {
    const count = chunk.copy(pdu, this.pduFilled, at, at + pdu.length - this.pduFilled);
    this.pduFilled += count;
    if (this.pduFilled < pdu.length) return count;
    this.pdu = undefined;
    this.headFilled = 0;
    if (pdu[0] === ASSOCIATE_RQ) this.isAssociated = true;
    if (pdu[0] === P_DATA_TF) this.giveFragments(pdu);
    else this.emit('data', pdu);
    return count;
  }

  /** Hands over every presentation data value (PS3.8 section 9.3.5.1) as a PDU of its own. */
  private giveFragments(pdu: Buffer): void {
    for (let at = HEAD_BYTES; at < pdu.length && !this.isEnded; ) {
      const length = at + HEAD_BYTES > pdu.length ? 0 : pdu.readUInt32BE(at);
      const end = at + 4 + length;
      const refusal =
        length < 2 || end > pdu.length
          ? `a fragment of ${length} bytes`
          : this.refusalOfFragment(pdu[at + 5]!, length - 2);
      if (refusal !== undefined) {
        this.emit('violation', refusal);
        return;
      }
      this.emit('data', at === HEAD_BYTES && end === pdu.length ? pdu : wrapped(pdu.subarray(at, end)));
      at = end;
    }
  }

  /** @param control message control header: bit 0 command, bit 1 last fragment */
  private refusalOfFragment(control: number, bytes: number): string | undefined {
    // One operation at a time was negotiated: the next command comes after the response.
    if (this.holds.has('response')) return 'a command before the response to the one before';
    if ((control & 1) === 0) return this.refusalOfData(control, bytes);
    if (this.dataBytesMax() > 0) return 'a command within a data set';
    this.commandBytes += bytes;
    if (this.commandBytes > COMMAND_BYTES_MAX) return 'a command set that is too long';
    if ((control & 2) !== 0) this.commandBytes = 0;
    return undefined;
  }

  private refusalOfData(control: number, bytes: number): string | undefined {
    const bytesMax = this.dataBytesMax();
    if (bytesMax === 0) return 'a data set without a C-STORE command';
    this.dataBytes += bytes;
    if (this.dataBytes > bytesMax) return 'a data set that is too long';
    if ((control & 2) !== 0) this.dataBytes = 0;
    return undefined;
  }
}

function wrapped(fragment: Buffer): Buffer {
  const head = Buffer.alloc(HEAD_BYTES);
  head[0] = P_DATA_TF;
  head.writeUInt32BE(fragment.length, 2);
  return Buffer.concat([head, fragment]);
}
