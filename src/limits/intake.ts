/**
 * The way of request messages into a call, in place of grpc-js's own. That one decodes all messages of a network read
 * at once and knows one limit for all methods. Here a call decodes a message when its handler wants one: with the
 * limits of its method, room for its bytes, and a turn on the port's thread.
 *
 * grpc-js has no door for that, so this file reaches into its server calls: see `ServerCall`.
 */
import type { ServerHttp2Stream } from 'node:http2';
import type {
  Metadata,
  ServerInterceptingCall,
  ServerInterceptingCallInterface,
  ServerInterceptor,
  status,
} from '@grpc/grpc-js';
import { SaladError } from '../errors/index.js';
import { toServiceError } from '../wire/status.js';
import { Framing } from './framing.js';
import { Inflater, tooLarge } from './inflate.js';
import type { MethodLimits } from './methods.js';
import { addressKey } from './peer.js';
import type { ReceivedBytes } from './received-bytes.js';
import type { Turns } from './turns.js';

/** What is used of the server call of grpc-js that is nearest to the wire. */
interface ServerCall {
  readonly stream: ServerHttp2Stream;
  readonly handler: { deserialize(bytes: Buffer): object };
  readonly metadata: Metadata;
  readonly incomingEncoding: string;
  /** Set by `start`. */
  readonly listener: Listener | null;
  /** True once the call has a status, or its stream is gone. */
  checkCancelled(): boolean;
  sendStatus(end: { code: status; details: string; metadata: Metadata | null }): void;
  handleDataFrame(data: Buffer): void;
  handleEndEvent(): void;
  startRead(): void;
}

interface Listener {
  onReceiveMessage(message: object): void;
  onReceiveHalfClose(): void;
}

const USED_METHODS = [
  'checkCancelled',
  'sendStatus',
  'handleDataFrame',
  'handleEndEvent',
  'startRead',
] as const;

export interface IntakeOptions {
  /** Who calls, once that is known. */
  readonly peerOf: (metadata: Metadata) => string | undefined;
  /** By path. */
  readonly limitsOf: (path: string) => MethodLimits;
  readonly received: ReceivedBytes;
  readonly turns: Turns;
  /** Most bytes of a stream's messages that wait for its handler, beside the one that comes. */
  readonly maxPendingBytes: number;
  readonly retryDelayMs: number;
}

/** Messages of a stream that wait for its handler. */
const PENDING_MAX = 16;
const ENCODINGS = ['gzip', 'deflate'];

/** Of every message that a handler has, or has had: whose it is, and what it takes. */
const DELIVERED = new WeakMap<object, { readonly intake: Intake; readonly bytes: number }>();

/** Encoded bytes of a request message, after decompression. */
export function messageBytes(message: object): number {
  return DELIVERED.get(message)?.bytes ?? 0;
}

/** The handler of a stream is done with a message. */
export function messageTaken(message: object): void {
  DELIVERED.get(message)?.intake.taken(message);
}

/** For the server's options, first of all interceptors. */
export function intakeInterceptor(options: IntakeOptions): ServerInterceptor {
  const inflater = new Inflater();
  return (method, call) => {
    new Intake(serverCall(call), options.limitsOf(method.path), inflater, options).install();
    return call as ServerInterceptingCall;
  };
}

/** @throws SaladError INTERNAL where this version of grpc-js has other server calls */
function serverCall(call: ServerInterceptingCallInterface): ServerCall {
  const inner = call as unknown as ServerCall;
  if (USED_METHODS.some((name) => typeof inner[name] !== 'function') || inner.stream === undefined) {
    throw new SaladError(
      'INTERNAL',
      'this version of @grpc/grpc-js is not supported: its calls take no limits',
    );
  }
  return inner;
}

class Intake {
  private framing = new Framing();
  private knownPeer: string | undefined;
  /** Bytes taken of the received ones for the message that comes, or is decoded. */
  private reserved: number | undefined;
  /** Bytes of the message that waits for room. */
  private awaited: number | undefined;
  /** The handler wants a message. */
  private isWanted = false;
  /** The message that is there is being decoded, or waits for its turn. */
  private isDecoding = false;
  private hasEnded = false;
  private isFirst = true;
  private isOver = false;
  /** With the handler. */
  private readonly pending = new Map<object, number>();
  private pendingBytes = 0;

  constructor(
    private readonly call: ServerCall,
    private readonly limits: MethodLimits,
    private readonly inflater: Inflater,
    private readonly options: IntakeOptions,
  ) {}

  install(): void {
    this.call.handleDataFrame = (data) => this.onData(data);
    this.call.handleEndEvent = () => this.onEnd();
    this.call.startRead = () => this.onWanted();
    this.call.stream.once('close', () => this.close());
  }

  /** The handler is done with it. */
  taken(message: object): void {
    const bytes = this.pending.get(message);
    if (bytes === undefined) return;
    this.pending.delete(message);
    this.pendingBytes -= bytes;
    this.options.received.give(this.peer, bytes);
    this.proceed();
  }

  /** Asked for only once the call may be read, when its caller is known. */
  private get peer(): string {
    this.knownPeer ??=
      this.options.peerOf(this.call.metadata) ?? addressKey(this.call.stream.session?.socket.remoteAddress);
    return this.knownPeer;
  }

  private onData(data: Buffer): void {
    // What comes after the status is dropped.
    if (this.call.checkCancelled()) return;
    this.framing.push(data);
    this.proceed();
  }

  private onEnd(): void {
    this.hasEnded = true;
    this.proceed();
  }

  private onWanted(): void {
    if (this.call.checkCancelled()) return;
    this.isWanted = true;
    this.proceed();
  }

  /** Does what can be done now: makes room for the next message, reads on, or decodes. */
  private proceed(): void {
    if (this.isOver || this.awaited !== undefined || this.isDecoding) return;
    const prefix = this.framing.next;
    if (
      prefix !== undefined &&
      this.reserved === undefined &&
      !this.makeRoom(prefix.isCompressed, prefix.length)
    )
      return;
    if (!this.framing.isComplete) this.readOn();
    else {
      this.call.stream.pause();
      if (this.isWanted && this.mayDeliver()) this.decode(prefix?.isCompressed === true);
    }
  }

  private readOn(): void {
    if (!this.hasEnded) {
      if (this.isWanted || this.reserved !== undefined) this.call.stream.resume();
    } else if (this.isWanted) {
      this.isWanted = false;
      this.call.listener?.onReceiveHalfClose();
    }
  }

  /** @returns false where the call has ended, or waits for room */
  private makeRoom(isCompressed: boolean, length: number): boolean {
    const maxBytes = this.isFirst ? this.limits.firstBytes : this.limits.laterBytes;
    const encoding = this.call.incomingEncoding;
    if (length > maxBytes) return this.fail(tooLarge(maxBytes));
    if (isCompressed && !(this.limits.compression && ENCODINGS.includes(encoding))) {
      return this.fail(
        new SaladError('UNIMPLEMENTED', 'the method does not take messages compressed like this'),
      );
    }
    if (this.options.received.take(this.peer, length, this.onRoom)) {
      this.reserved = length;
      this.framing.accept();
      return true;
    }
    this.awaited = length;
    this.call.stream.pause();
    return false;
  }

  private readonly onRoom = () => {
    this.reserved = this.awaited;
    this.awaited = undefined;
    if (this.isOver) this.giveReserved();
    else {
      this.framing.accept();
      this.proceed();
    }
  };

  private mayDeliver(): boolean {
    return this.pending.size < PENDING_MAX && this.pendingBytes <= this.options.maxPendingBytes;
  }

  private decode(isCompressed: boolean): void {
    this.isDecoding = true;
    const message = this.framing.take();
    if (!isCompressed) {
      this.options.turns.run(this.peer, () => this.deliver(message));
      return;
    }
    const maxBytes = this.isFirst ? this.limits.firstBytes : this.limits.laterBytes;
    const reserve = (bytes: number) => this.reserveMore(bytes);
    this.inflater
      .inflate(this.peer, message, { encoding: this.call.incomingEncoding, maxBytes, reserve })
      .then(
        (inflated) => this.options.turns.run(this.peer, () => this.deliver(inflated)),
        (error: unknown) => {
          this.isDecoding = false;
          if (this.isOver) this.giveReserved();
          else this.fail(error);
        },
      );
  }

  private reserveMore(bytes: number): boolean {
    if (this.isOver || !this.options.received.takeMore(this.peer, bytes)) return false;
    this.reserved = (this.reserved ?? 0) + bytes;
    return true;
  }

  private deliver(bytes: Buffer): void {
    this.isDecoding = false;
    if (this.isOver || this.call.checkCancelled()) {
      this.close();
      return;
    }
    let message: object;
    try {
      message = this.limits.decode?.(bytes, this.isFirst) ?? this.call.handler.deserialize(bytes);
    } catch (error) {
      this.fail(error instanceof SaladError ? error : undecodable(error));
      return;
    }
    this.isFirst = false;
    this.isWanted = false;
    if (this.limits.isKept) this.keep(message);
    else this.giveReserved();
    DELIVERED.set(message, { intake: this, bytes: bytes.byteLength });
    this.call.listener?.onReceiveMessage(message);
  }

  private keep(message: object): void {
    const bytes = this.reserved ?? 0;
    this.reserved = undefined;
    this.pending.set(message, bytes);
    this.pendingBytes += bytes;
  }

  private fail(thrown: unknown): false {
    const error = SaladError.from(thrown);
    this.call.sendStatus(toServiceError(error, this.options.retryDelayMs));
    this.close();
    return false;
  }

  private close(): void {
    if (!this.isOver) {
      this.isOver = true;
      for (const bytes of this.pending.values()) this.options.received.give(this.peer, bytes);
      this.pending.clear();
      this.framing = new Framing();
      if (this.awaited !== undefined) this.options.received.stopWaiting(this.peer, this.onRoom);
    }
    // What is being decoded gives its room back itself.
    if (!this.isDecoding) this.giveReserved();
  }

  private giveReserved(): void {
    if (this.reserved === undefined) return;
    this.options.received.give(this.peer, this.reserved);
    this.reserved = undefined;
  }
}

function undecodable(cause: unknown): SaladError {
  return new SaladError('MESSAGE_INVALID', 'the request cannot be decoded', { cause });
}
