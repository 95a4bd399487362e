/** Reads a call's requests as an async iterable, with limits on waiting bytes and on the silence of the client. */
import type { ServerReadableStream } from '@grpc/grpc-js';
import { Latch } from '../acquisition/index.js';
import { SaladError } from '../errors/index.js';
import { SilenceTimer, type StartTimer } from './silence-timer.js';

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
  const waiting: T[] = [];
  const change = new Latch();
  let pendingBytes = 0;
  let hasEnded = false;
  let isSilent = false;
  // A client is silent only while this generator waits for it, not while its messages wait here or its call is paused.
  let isWaiting = false;
  const onSilence = () => {
    isSilent = isWaiting && !(options.isBusy?.() ?? false);
    if (isSilent) change.open();
    else timer.refresh();
  };
  const timer = new SilenceTimer(options.idleTimeoutMs, onSilence, options.startTimer);
  const onData = (message: T) => {
    timer.refresh();
    waiting.push(message);
    pendingBytes += options.sizeOf(message);
    if (pendingBytes > options.maxPendingBytes) call.pause();
    change.open();
  };
  const onEnd = () => {
    hasEnded = true;
    change.open();
  };
  // Also called on abort, because a consumer that stops reading may never end this generator.
  const stop = () => {
    timer.stop();
    options.signal.removeEventListener('abort', stop);
    call.off('data', onData);
    call.off('end', onEnd);
    for (const message of waiting.splice(0)) options.onReleased?.(message);
    // Later messages are read and dropped; otherwise the call could not close.
    if (options.onReleased !== undefined) call.on('data', options.onReleased);
    call.resume();
    change.open();
  };
  call.on('data', onData);
  call.on('end', onEnd);
  options.signal.addEventListener('abort', stop);
  try {
    while (!options.signal.aborted) {
      const message = waiting.shift();
      if (message !== undefined) {
        yield message;
        timer.refresh();
        options.onReleased?.(message);
        pendingBytes -= options.sizeOf(message);
        if (call.isPaused() && pendingBytes <= options.maxPendingBytes) call.resume();
        continue;
      }
      if (hasEnded) return;
      if (isSilent) {
        throw new SaladError('IDLE_TIMEOUT', `the client sent nothing for ${options.idleTimeoutMs} ms`);
      }
      isWaiting = true;
      await change.wait();
      isWaiting = false;
    }
  } finally {
    stop();
  }
}
