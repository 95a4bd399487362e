/** Limits of a connection that grpc-js's server has no options for: how many, how slowly, how noisily. */
import {
  constants,
  type Http2SecureServer,
  type Http2Server,
  type ServerHttp2Session,
  type ServerHttp2Stream,
} from 'node:http2';
import type { ServerOptions } from '@grpc/grpc-js';
import type { ServeConfig } from '../../config/schema.js';

/** Pings too soon that are forgiven; the number of gRPC's own servers (proposal A8). */
const PING_STRIKES = 2;
/** On the wire the answer to a ping takes 17 bytes, and with TLS about as many again. */
const PING_ANSWER_BYTES = 64;

const STREAMS_MIN = 100;

/** How long a client whose call is over may keep its half of the stream, unless silence is bounded more tightly. */
const LINGER_MS = 5000;

/** Those that grpc-js has. */
export function connectionOptions(config: ServeConfig): ServerOptions {
  return {
    'grpc.max_connection_idle_ms': config.connectionIdleMs,
    ...(config.connectionMaxAgeMs === 0 ? {} : { 'grpc.max_connection_age_ms': config.connectionMaxAgeMs }),
    // Above the limit of calls, so that one too many is refused with words; bounds streams whose client
    // has its status and never lets go of them. Node counts streams that are over but not yet gone, and resets one
    // too many without a word: never fewer than RFC 9113 (6.5.2) recommends.
    'grpc.max_concurrent_streams': Math.max(STREAMS_MIN, 2 * config.maxConcurrentAcquisitions),
  };
}

/** Those that it has not. */
export function limitConnections(server: Http2Server | Http2SecureServer, config: ServeConfig): void {
  server.maxConnections = config.maxConnections;
  const lingerMs = Math.min(LINGER_MS, config.idleTimeoutMs);
  server.on('stream', (stream: ServerHttp2Stream) => letGo(stream, lingerMs));
  if (config.minPingIntervalMs === 0) return;
  server.on('session', (session: ServerHttp2Session) => calm(session, config.minPingIntervalMs));
}

/**
 * A call that has its status is over, for a refused client too: what it goes on sending would be read and dropped
 * for ever. NO_ERROR is what RFC 9113 (8.1) has for a stream that was answered before it was wholly sent.
 */
function letGo(stream: ServerHttp2Stream, lingerMs: number): void {
  stream.once('finish', () => {
    if (stream.closed) return;
    const timer = setTimeout(() => stream.close(constants.NGHTTP2_NO_ERROR), lingerMs);
    stream.once('close', () => clearTimeout(timer));
  });
}

/** Answers to pings are cheap, a client that lives on them is not: it keeps a connection and a CPU busy for nothing. */
function calm(session: ServerHttp2Session, minIntervalMs: number): void {
  let strikes = 0;
  let lastPingAt = Number.NEGATIVE_INFINITY;
  let writtenThen = 0;
  session.on('ping', () => {
    const now = performance.now();
    const written = session.socket.bytesWritten;
    // Whoever is sent something may ping to measure the line, as Go's and Java's clients do.
    const isAnswered = written - writtenThen > PING_ANSWER_BYTES;
    strikes = isAnswered || now - lastPingAt >= minIntervalMs ? 0 : strikes + 1;
    lastPingAt = now;
    writtenThen = written;
    if (strikes <= PING_STRIKES) return;
    session.goaway(constants.NGHTTP2_ENHANCE_YOUR_CALM, undefined, Buffer.from('too_many_pings'));
    session.destroy(undefined, constants.NGHTTP2_ENHANCE_YOUR_CALM);
  });
}
