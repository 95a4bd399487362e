/** Reads a call's requests as an async iterable, with limits on waiting bytes and on the silence of the client. */
import type { ServerReadableStream } from '@grpc/grpc-js';
import { Latch } from '../acquisition/index.js';
import { SaladError } from '../errors/index.js';
import type { StartTimer } from '../util/timer.js';
import { SilenceTimer } from './silence-timer.js';

export interface RequestOptions<T> {
  /** Bytes of memory that a message uses. */
  readonly sizeOf: (message: T) => number;
  /** The call is paused while more bytes than this wait; HTTP/2 flow control then slows the client. */
  readonly maxPendingBytes: number;
  readonly idleTimeoutMs: number;
  /** While it returns true, the client waits for an answer and is not silent. @default never */
  readonly isBusy?: () => boolean;
  /** Ends the iteration, without an error. */
  readonly signal: AbortSignal;
  /** Called for every message when it is no longer used, because it was processed or dropped. */
  readonly onReleased?: (message: T) => void;
  /** @default the timers of Node */
  readonly startTimer?: StartTimer;
}

type Readable<T> = Pick<ServerReadableStream<T, unknown>, 'on' | 'off' | 'pause' | 'resume' | 'isPaused'>;

/**
 * Yields the requests in order. It replaces the iterator of Node's streams, which destroys the call when the loop ends
 * early, so that no status could be sent.
 * @throws SaladError IDLE_TIMEOUT
 */
export async function* readRequests<T>(call: Readable<T>, options: RequestOptions<T>): AsyncGenerator<T> {
  const arrived = new ArrivedMessages(call, options);
  try {
    while (!options.signal.aborted) {
      const message = arrived.shift();
      if (message !== undefined) {
        yield message;
        arrived.processed(message);
        continue;
      }
      if (arrived.haveEnded) return;
      await arrived.change();
    }
  } finally {
    arrived.stop();
  }
}

/** Messages of a call that wait to be processed. */
class ArrivedMessages<T> {
  private readonly waiting: T[] = [];
  private readonly changed = new Latch();
  private readonly timer: SilenceTimer;
  private pendingBytes = 0;
  private isSilent = false;
  /** A client is silent only while `change` waits for it, not while its messages wait here or its call is paused. */
  private isWaiting = false;
  private ended = false;

  constructor(
    private readonly call: Readable<T>,
    private readonly options: RequestOptions<T>,
  ) {
    this.timer = new SilenceTimer(options.idleTimeoutMs, () => this.onSilence(), options.startTimer);
    call.on('data', this.onData);
    call.on('end', this.onEnd);
    // A consumer that stops reading may never end the generator.
    options.signal.addEventListener('abort', this.stop);
  }

  /** The client sends no more. */
  get haveEnded(): boolean {
    return this.ended;
  }

  /** Takes the oldest message; undefined where none waits. */
  shift(): T | undefined {
    return this.waiting.shift();
  }

  /** The message is no longer used. */
  processed(message: T): void {
    const { call, options } = this;
    this.timer.refresh();
    options.onReleased?.(message);
    this.pendingBytes -= options.sizeOf(message);
    if (call.isPaused() && this.pendingBytes <= options.maxPendingBytes) call.resume();
  }

  /** Waits for a message, the end of the messages, or `stop`. @throws SaladError IDLE_TIMEOUT */
  async change(): Promise<void> {
    if (this.isSilent) {
      throw new SaladError('IDLE_TIMEOUT', `the client sent nothing for ${this.options.idleTimeoutMs} ms`);
    }
    this.isWaiting = true;
    await this.changed.wait();
    this.isWaiting = false;
  }

  /** Drops the messages, and all that arrive later. */
  readonly stop = (): void => {
    const { call, options } = this;
    this.timer.stop();
    options.signal.removeEventListener('abort', this.stop);
    call.off('data', this.onData);
    call.off('end', this.onEnd);
    for (const message of this.waiting.splice(0)) options.onReleased?.(message);
    // Later messages are read and dropped; otherwise the call could not close.
    if (options.onReleased !== undefined) call.on('data', options.onReleased);
    call.resume();
    this.changed.open();
  };

  private readonly onData = (message: T): void => {
    const { call, options } = this;
    this.timer.refresh();
    this.waiting.push(message);
    this.pendingBytes += options.sizeOf(message);
    if (this.pendingBytes > options.maxPendingBytes) call.pause();
    this.changed.open();
  };

  private readonly onEnd = (): void => {
    this.ended = true;
    this.changed.open();
  };

  private onSilence(): void {
    this.isSilent = this.isWaiting && !(this.options.isBusy?.() ?? false);
    if (this.isSilent) this.changed.open();
    else this.timer.refresh();
  }
}
