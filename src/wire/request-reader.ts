/** A call's requests as an async iterable that is bounded in bytes and gives up on a silent client. */
import type { ServerReadableStream } from '@grpc/grpc-js';
import { Latch } from '../acquisition/index.js';
import { SaladError } from '../errors/index.js';
import { SilenceTimer } from './silence-timer.js';

export interface RequestOptions<T> {
  /** Bytes a message keeps alive. */
  readonly sizeOf: (message: T) => number;
  /** Past this many bytes waiting, the call is paused: HTTP/2 flow control then slows the client. */
  readonly maxPendingBytes: number;
  readonly idleTimeoutMs: number;
  /** Where true, the client is waiting for an answer, and not silent. @default never */
  readonly isBusy?: () => boolean;
  /** Ends the iteration; the reader learns of it from the same signal. */
  readonly signal: AbortSignal;
  /** Called for every message once nobody reads it any more. */
  readonly onTaken?: (message: T) => void;
}

type Readable<T> = Pick<ServerReadableStream<T, unknown>, 'on' | 'off' | 'pause' | 'resume' | 'isPaused'>;

/**
 * Not Node's own iterator: leaving that one early destroys the call, and then no status could be sent.
 * @throws SaladError IDLE_TIMEOUT
 */
export async function* readRequests<T>(call: Readable<T>, options: RequestOptions<T>): AsyncGenerator<T> {
  const waiting: T[] = [];
  const news = new Latch();
  let pendingBytes = 0;
  let ended = false;
  let idle = false;
  // Only while this reads: a client whose messages wait here, or whose call is paused, is not silent.
  let isWaiting = false;
  const timer = new SilenceTimer(options.idleTimeoutMs, () => {
    idle = isWaiting && !(options.isBusy?.() ?? false);
    if (idle) news.open();
    else timer.refresh();
  });
  const onData = (message: T) => {
    timer.refresh();
    waiting.push(message);
    pendingBytes += options.sizeOf(message);
    if (pendingBytes > options.maxPendingBytes) call.pause();
    news.open();
  };
  const onEnd = () => {
    ended = true;
    news.open();
  };
  // At the abort, too: a reader that gave up may never come back to end this generator.
  const stop = () => {
    timer.stop();
    options.signal.removeEventListener('abort', stop);
    call.off('data', onData);
    call.off('end', onEnd);
    for (const message of waiting.splice(0)) options.onTaken?.(message);
    // What the client still sends is read and dropped, else the call could never close.
    if (options.onTaken !== undefined) call.on('data', options.onTaken);
    call.resume();
    news.open();
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
        options.onTaken?.(message);
        pendingBytes -= options.sizeOf(message);
        if (call.isPaused() && pendingBytes <= options.maxPendingBytes) call.resume();
        continue;
      }
      if (ended) return;
      if (idle) throw new SaladError('IDLE_TIMEOUT', `nothing came for ${options.idleTimeoutMs} ms`);
      isWaiting = true;
      await news.wait();
      isWaiting = false;
    }
  } finally {
    stop();
  }
}
