/** A call's requests as an async iterable that is bounded in bytes and gives up on a silent client. */
import type { ServerReadableStream } from '@grpc/grpc-js';
import { Latch } from '../acquisition/index.js';
import { SaladError } from '../errors/index.js';

export interface RequestOptions<T> {
  /** Bytes a message keeps alive. */
  readonly sizeOf: (message: T) => number;
  /** Past this many bytes waiting, the call is paused: HTTP/2 flow control then slows the client. */
  readonly maxPendingBytes: number;
  readonly idleTimeoutMs: number;
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
  const timer = setTimeout(() => {
    idle = true;
    news.open();
  }, options.idleTimeoutMs);
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
  const onAbort = () => news.open();
  call.on('data', onData);
  call.on('end', onEnd);
  options.signal.addEventListener('abort', onAbort);
  try {
    while (!options.signal.aborted) {
      const message = waiting.shift();
      if (message !== undefined) {
        yield message;
        options.onTaken?.(message);
        pendingBytes -= options.sizeOf(message);
        if (call.isPaused() && pendingBytes <= options.maxPendingBytes) call.resume();
        continue;
      }
      if (ended) return;
      if (idle) throw new SaladError('IDLE_TIMEOUT', `nothing came for ${options.idleTimeoutMs} ms`);
      await news.wait();
    }
  } finally {
    clearTimeout(timer);
    options.signal.removeEventListener('abort', onAbort);
    call.off('data', onData);
    call.off('end', onEnd);
    // What the client still sends is read and dropped, else the call could never close.
    for (const message of waiting) options.onTaken?.(message);
    if (options.onTaken !== undefined) call.on('data', options.onTaken);
    call.resume();
  }
}
