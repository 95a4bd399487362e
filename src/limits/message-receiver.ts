/**
 * Receives the request messages of a call, instead of the code of grpc-js. grpc-js decodes all messages of a network
 * read at once and has one size limit for all methods. Here a message is decoded only when the call's handler requests
 * it, within the limits of its method, after its memory was reserved, and in a turn of `TurnScheduler`.
 *
 * grpc-js has no public interface for this, so this file replaces methods of its server calls: see `ServerCall`.
 */
import type { Metadata, ServerInterceptingCall, ServerInterceptor } from '@grpc/grpc-js';
import { SaladError } from '../errors/index.js';
import { toServiceError } from '../wire/status.js';
import { DecompressionQueue, messageTooLarge } from './decompression.js';
import { type ServerCall, serverCallOf } from './grpc-server-call.js';
import { MessageDeframer } from './message-deframer.js';
import type { MethodLimits } from './method-limits.js';
import { addressKey } from './peer-key.js';
import type { ReceiveBudget } from './receive-budget.js';
import type { TurnScheduler } from './turn-scheduler.js';

export interface MessageReceiverOptions {
  /** The caller's identity; undefined for calls that are counted by address. Called once the caller is identified. */
  readonly peerOf: (metadata: Metadata) => string | undefined;
  /** Limits of a method, by its path. */
  readonly limitsOf: (path: string) => MethodLimits;
  readonly budget: ReceiveBudget;
  readonly scheduler: TurnScheduler;
  /** A stream's next message is not decoded while its delivered, unprocessed messages have more bytes than this. */
  readonly maxPendingBytes: number;
  readonly retryDelayMs: number;
}

/** Most delivered messages of a stream that its handler has not processed. */
const PENDING_MESSAGES_MAX = 16;
const ENCODINGS = ['gzip', 'deflate'];

/** For every delivered message: its receiver, and its encoded size. */
const DELIVERED = new WeakMap<object, { readonly receiver: MessageReceiver; readonly bytes: number }>();

/** Encoded bytes of a delivered request message, after decompression. */
export function messageBytes(message: object): number {
  return DELIVERED.get(message)?.bytes ?? 0;
}

/** To be called when the handler of a stream has processed a message: its memory is released. */
export function messageProcessed(message: object): void {
  DELIVERED.get(message)?.receiver.onProcessed(message);
}

/** For the server's options: must be the first interceptor. */
export function messageReceiverInterceptor(options: MessageReceiverOptions): ServerInterceptor {
  const decompression = new DecompressionQueue();
  return (method, call) => {
    new MessageReceiver(serverCallOf(call), options.limitsOf(method.path), decompression, options).install();
    return call as ServerInterceptingCall;
  };
}

class MessageReceiver {
  private deframer = new MessageDeframer();
  private cachedPeer: string | undefined;
  /** Bytes reserved for the current message, which is being received or decoded. */
  private reservedBytes: number | undefined;
  /** Bytes of the current message while it waits for memory. */
  private awaitedBytes: number | undefined;
  /** Whether the handler has requested a message. */
  private isRequested = false;
  /** Whether the current message is being decoded, or waits for its turn. */
  private isDecoding = false;
  private hasEnded = false;
  private isFirst = true;
  private isClosed = false;
  /** Delivered messages that the handler has not processed, with the bytes reserved for each. */
  private readonly pending = new Map<object, number>();
  private pendingBytes = 0;

  constructor(
    private readonly call: ServerCall,
    private readonly limits: MethodLimits,
    private readonly decompression: DecompressionQueue,
    private readonly options: MessageReceiverOptions,
  ) {}

  /** Replaces the methods with which the call receives messages. */
  install(): void {
    this.call.handleDataFrame = (data) => this.onData(data);
    this.call.handleEndEvent = () => this.onEnd();
    this.call.startRead = () => this.onRequested();
    this.call.stream.once('close', () => this.close());
  }

  onProcessed(message: object): void {
    const bytes = this.pending.get(message);
    if (bytes === undefined) return;
    this.pending.delete(message);
    this.pendingBytes -= bytes;
    this.options.budget.release(this.peer, bytes);
    this.proceed();
  }

  /** First read after the handler's first request, when the caller is identified. */
  private get peer(): string {
    this.cachedPeer ??=
      this.options.peerOf(this.call.metadata) ?? addressKey(this.call.stream.session?.socket.remoteAddress);
    return this.cachedPeer;
  }

  private onData(data: Buffer): void {
    // Data that arrives after the status was sent is dropped.
    if (this.call.checkCancelled()) return;
    this.deframer.push(data);
    this.proceed();
  }

  private onEnd(): void {
    this.hasEnded = true;
    this.proceed();
  }

  private onRequested(): void {
    if (this.call.checkCancelled()) return;
    this.isRequested = true;
    this.proceed();
  }

  /** Does the next possible step: reserves memory for the current message, reads more of it, or decodes it. */
  private proceed(): void {
    if (this.isClosed || this.awaitedBytes !== undefined || this.isDecoding) return;
    const prefix = this.deframer.nextPrefix;
    if (
      prefix !== undefined &&
      this.reservedBytes === undefined &&
      !this.reserve(prefix.isCompressed, prefix.length)
    ) {
      return;
    }
    if (!this.deframer.isComplete) this.readMore();
    else {
      this.call.stream.pause();
      if (this.isRequested && this.canDeliver()) this.decode(prefix?.isCompressed === true);
    }
  }

  private readMore(): void {
    if (!this.hasEnded) {
      if (this.isRequested || this.reservedBytes !== undefined) this.call.stream.resume();
    } else if (this.isRequested) {
      this.isRequested = false;
      this.call.listener?.onReceiveHalfClose();
    }
  }

  /** @returns false where the call has failed, or waits for memory */
  private reserve(isCompressed: boolean, length: number): boolean {
    const encoding = this.call.incomingEncoding;
    if (length > this.maxBytes) return this.fail(messageTooLarge(this.maxBytes));
    if (isCompressed && !(this.limits.acceptsCompression && ENCODINGS.includes(encoding))) {
      const message = 'the method does not accept messages with this compression';
      return this.fail(new SaladError('UNIMPLEMENTED', message));
    }
    if (this.options.budget.reserve(this.peer, length, this.onReserved)) {
      this.reservedBytes = length;
      this.deframer.accept();
      return true;
    }
    this.awaitedBytes = length;
    this.call.stream.pause();
    return false;
  }

  private readonly onReserved = () => {
    this.reservedBytes = this.awaitedBytes;
    this.awaitedBytes = undefined;
    if (this.isClosed) this.releaseReserved();
    else {
      this.deframer.accept();
      this.proceed();
    }
  };

  private get maxBytes(): number {
    return this.isFirst ? this.limits.firstMessageBytes : this.limits.laterMessageBytes;
  }

  private canDeliver(): boolean {
    return this.pending.size < PENDING_MESSAGES_MAX && this.pendingBytes <= this.options.maxPendingBytes;
  }

  private decode(isCompressed: boolean): void {
    this.isDecoding = true;
    const message = this.deframer.takeMessage();
    if (!isCompressed) {
      this.scheduleDelivery(message);
      return;
    }
    const encoding = this.call.incomingEncoding;
    const reserve = (bytes: number) => this.reserveMore(bytes);
    this.decompression.decompress(this.peer, message, { encoding, maxBytes: this.maxBytes, reserve }).then(
      (decompressed) => this.scheduleDelivery(decompressed),
      (error: unknown) => {
        this.isDecoding = false;
        if (this.isClosed) this.releaseReserved();
        else this.fail(error);
      },
    );
  }

  private reserveMore(bytes: number): boolean {
    if (this.isClosed || !this.options.budget.reserveMore(this.peer, bytes)) return false;
    this.reservedBytes = (this.reservedBytes ?? 0) + bytes;
    return true;
  }

  private scheduleDelivery(bytes: Buffer): void {
    this.options.scheduler.run(this.peer, () => this.deliver(bytes));
  }

  private deliver(bytes: Buffer): void {
    this.isDecoding = false;
    if (this.isClosed || this.call.checkCancelled()) {
      this.close();
      return;
    }
    let message: object;
    try {
      message = this.limits.decode?.(bytes, this.isFirst) ?? this.call.handler.deserialize(bytes);
    } catch (error) {
      this.fail(error instanceof SaladError ? error : decodingFailed(error));
      return;
    }
    this.isFirst = false;
    this.isRequested = false;
    if (this.limits.isKeptUntilProcessed) this.keep(message);
    else this.releaseReserved();
    DELIVERED.set(message, { receiver: this, bytes: bytes.byteLength });
    this.call.listener?.onReceiveMessage(message);
  }

  private keep(message: object): void {
    const bytes = this.reservedBytes ?? 0;
    this.reservedBytes = undefined;
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
    if (!this.isClosed) {
      this.isClosed = true;
      for (const bytes of this.pending.values()) this.options.budget.release(this.peer, bytes);
      this.pending.clear();
      this.deframer = new MessageDeframer();
      if (this.awaitedBytes !== undefined) this.options.budget.stopWaiting(this.peer, this.onReserved);
    }
    // A message that is being decoded releases its memory when the decoding ends.
    if (!this.isDecoding) this.releaseReserved();
  }

  private releaseReserved(): void {
    if (this.reservedBytes === undefined) return;
    this.options.budget.release(this.peer, this.reservedBytes);
    this.reservedBytes = undefined;
  }
}

function decodingFailed(cause: unknown): SaladError {
  return new SaladError('MESSAGE_INVALID', 'the request message cannot be decoded', { cause });
}
