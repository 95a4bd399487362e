/** Limits of a connection that grpc-js's server has no options for: how many, how slowly, how noisily. */
import { constants, type Http2SecureServer, type Http2Server, type ServerHttp2Session } from 'node:http2';
import type { ServerOptions } from '@grpc/grpc-js';
import type { ServeConfig } from '../config/schema.js';

/** Pings too soon that are forgiven; the number of gRPC's own servers (proposal A8). */
const PING_STRIKES = 2;
/** On the wire the answer to a ping takes 17 bytes, and with TLS about as many again. */
const PING_ANSWER_BYTES = 64;

/** Those that grpc-js has. */
export function connectionOptions(config: ServeConfig): ServerOptions {
  return {
    'grpc.max_connection_idle_ms': config.connectionIdleMs,
    ...(config.connectionMaxAgeMs === 0 ? {} : { 'grpc.max_connection_age_ms': config.connectionMaxAgeMs }),
    // Above the limit of calls, so that one too many is refused with words; bounds streams whose client
    // has its status and never lets go of them.
    'grpc.max_concurrent_streams': 2 * config.maxConcurrentAcquisitions,
  };
}

/** Those that it has not. */
export function limitConnections(server: Http2Server | Http2SecureServer, config: ServeConfig): void {
  server.maxConnections = config.maxConnections;
  if (config.minPingIntervalMs === 0) return;
  server.on('session', (session: ServerHttp2Session) => calm(session, config.minPingIntervalMs));
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
